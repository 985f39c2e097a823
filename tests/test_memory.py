import subprocess
import sys

from kidney_lab.memory import available_mib, cores

_MEASURE = """
import numpy as np
from kidney_lab.memory import forget_peaks, overall_peak_mib, peak_mib, reset_peak

forgets = reset_peak()
before = peak_mib()
block = np.ones(50 * 2**20, np.uint8)
grown = peak_mib()
del block
reset_peak()
print(forgets, before, grown, peak_mib(), overall_peak_mib(), (forget_peaks(), overall_peak_mib())[1])
"""


def test_the_peak_counts_from_its_reset_where_the_system_can_forget_it():
    # a process of its own: in one that has been larger before, only a system that forgets shows growth
    process = subprocess.run([sys.executable, "-c", _MEASURE], capture_output=True, text=True, check=True)
    forgets, *figures = process.stdout.split()
    before, grown, after, overall, anew = map(float, figures)

    assert grown > before + 40
    assert after < grown - 40 if forgets == "True" else after == grown
    if forgets == "True":
        assert anew < grown - 40  # as the next job of a sweep in the same process counts
    assert overall > grown - 1  # the system counts pages per thread, and adds them up late


def test_the_machine_has_memory_and_processors():
    assert cores() >= 1
    assert available_mib() is None or available_mib() > 1
