"""Numbers as they stand in JSON files of results, where undefined is null."""

import math
from typing import Any

from kidney_lab.reporting.statistics import Interval


def json_number(value: float, digits: int | None = None) -> float | None:
    """A number that JSON can hold.

    Args:
        value: NaN is undefined.
        digits: decimals that it is rounded to; None: full precision.

    >>> json_number(0.12345678, 6), json_number(float("nan"))
    (0.123457, None)
    """
    if math.isnan(value):
        return None
    return float(value) if digits is None else round(float(value), digits)


def json_interval(interval: Interval, digits: int | None = None) -> dict[str, Any]:
    """A mean, its 95 % interval, and over how many values it is.

    Args:
        interval: of the mean.
        digits: as of `json_number`.
    """
    return {
        "mean": json_number(interval.mean, digits),
        "interval_95": [json_number(interval.low, digits), json_number(interval.high, digits)],
        "n": interval.n,
        "n_undefined": interval.n_undefined,
    }
