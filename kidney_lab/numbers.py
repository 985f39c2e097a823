"""What counts as a number among the values of a configuration; true and false do not."""

import math
from collections.abc import Sequence


def is_whole(value: object) -> bool:
    """Whether a value is a whole number.

    >>> is_whole(3), is_whole(3.0), is_whole(True)
    (True, False, False)
    """
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether a value is a number, and neither infinite nor undefined.

    >>> is_number(0.5), is_number(float("nan")), is_number("0.5")
    (True, False, False)
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_range(value: object) -> bool:
    """Whether a value is two numbers, the first below the second.

    >>> is_range([-150, 250]), is_range([3, 1]), is_range([1]), is_range("ab")
    (True, False, False, False)
    """
    if not isinstance(value, Sequence) or len(value) != 2 or not all(map(is_number, value)):
        return False
    lower, upper = value
    return bool(lower < upper)
