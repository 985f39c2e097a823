import re

import numpy as np
import pytest

from kidney_lab.errors import InputError
from kidney_lab.transforms.arguments import factors, modes, per_axis, share


def test_one_value_stands_for_every_axis():
    assert per_axis("rotate_range", 0.5).tolist() == [0.5] * 3
    assert per_axis("rotate_range", [0.1, 0, 0.3]).tolist() == [0.1, 0, 0.3]
    assert factors("scale_range", (0.7, 1.4)).tolist() == [[0.7, 1.4]] * 3
    assert factors("scale_range", [(1, 1), (0.5, 1), (1, 2)]).tolist() == [[1, 1], [0.5, 1], [1, 2]]
    assert modes("nearest", 2) == ("nearest", "nearest")
    assert modes(["bilinear", "linear"], 2) == ("bilinear", "linear")


@pytest.mark.parametrize("value", [0, 0.5, 1])
def test_a_share_lies_between_0_and_1(value):
    assert share("prob", value) == value


@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan"), "abc", None, [0.5], "0.5"])
def test_other_shares_are_refused(value):
    with pytest.raises(InputError, match=f"prob={re.escape(str(value))} is no share: write a number from 0 to 1"):
        share("prob", value)


@pytest.mark.parametrize("value", [-1, [1, 2], [1, 2, 3, 4], np.nan, [[1, 2, 3]], "abc", {"d": 1}, [1, [2], 3]])
def test_other_than_one_or_three_numbers_are_refused(value):
    with pytest.raises(InputError, match=r"rotate_range=.* must be a number from 0 on, or three"):
        per_axis("rotate_range", value)


@pytest.mark.parametrize("value", [(1.4, 0.7), (0, 1), (-1, 1), 1.2, (1, 1, 1), [(1, 2)] * 2, (np.nan, 1), "abc", None])
def test_other_than_rising_positive_pairs_are_refused(value):
    with pytest.raises(InputError, match=r"scale_range=.* must be \(smallest, largest\)"):
        factors("scale_range", value)


@pytest.mark.parametrize(
    "value",
    [
        "cubic",
        ["bilinear"],
        ["bilinear", "linear", "nearest"],
        ["bilinear", "spline"],
        5,
        None,
        [["linear"], "bilinear"],
    ],
)
def test_unknown_modes_are_refused(value):
    with pytest.raises(InputError, match=r"mode=.* must be one of bilinear, linear, nearest for each of 2 keys"):
        modes(value, 2)
