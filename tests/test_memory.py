import sys

import numpy as np
import pytest

from kidney_lab.memory import available_mib, cores, overall_peak_mib, peak_mib, reset_peak


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can forget a peak")
def test_the_peak_counts_from_its_reset():
    reset_peak()
    before = peak_mib()
    block = np.ones(50 * 2**20, np.uint8)
    grown = peak_mib()
    del block
    reset_peak()

    assert grown > before + 40
    assert peak_mib() < grown - 40
    assert overall_peak_mib() > grown - 1  # the system counts pages per thread, and adds them up late


def test_the_machine_has_memory_and_processors():
    assert cores() >= 1
    assert available_mib() is None or available_mib() > 1
