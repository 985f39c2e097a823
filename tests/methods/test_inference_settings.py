import re

import pytest

from kidney_lab.errors import InputError
from kidney_lab.methods.inference_settings import DEFAULTS, InferenceSettings


def test_nothing_is_mirrored_unless_it_is_asked_for():
    assert (tuple(DEFAULTS.mirror_axes), DEFAULTS.skip_air, DEFAULTS.precision) == ((), True, "trained")


@pytest.mark.parametrize("axes", [[3], [-1], [0, 0], ["D"], [1.0], [True], [[1]], 1, "12", None])
def test_axes_that_are_none_are_refused(axes):
    with pytest.raises(
        InputError, match=rf"^inference\.mirror_axes={re.escape(str(axes))} must name 0 \(slices\), .*; \[\] is none\.$"
    ):
        InferenceSettings(mirror_axes=axes)


@pytest.mark.parametrize("gib", [-1, True, "2", float("nan")])
def test_what_is_no_amount_of_memory_is_refused(gib):
    with pytest.raises(InputError, match=rf"^inference\.memory_gib={gib} is no amount: give GiB of at least 0\.$"):
        InferenceSettings(memory_gib=gib)


def test_a_switch_is_on_or_off():
    with pytest.raises(InputError, match=r"^inference\.skip_air=0\.5 is neither true nor false"):
        InferenceSettings(skip_air=0.5)
