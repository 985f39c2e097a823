import math

import pytest

from kidney_lab.numbers import is_number, is_range, is_whole


@pytest.mark.parametrize(
    ("value", "whole", "number"),
    [
        *((0, True, True), (-3, True, True), (1.0, False, True), (2.5, False, True)),
        *((True, False, False), ("1", False, False), (None, False, False), ([1], False, False)),
        *((math.nan, False, False), (math.inf, False, False), (-math.inf, False, False)),
    ],
)
def test_numbers_are_finite_and_neither_text_nor_switch(value, whole, number):
    assert (is_whole(value), is_number(value)) == (whole, number)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *(([-150, 250], True), ((0.0, 0.5), True), ([3, 1], False), ([1, 1], False)),
        *(([1], False), ([1, 2, 3], False), ("ab", False), (["a", "b"], False), (5, False), ([0, math.inf], False)),
    ],
)
def test_a_range_is_two_numbers_that_rise(value, expected):
    assert is_range(value) is expected
