"""Numbers as people read them; what is missing or undefined is a dash."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from kidney_lab.reporting.statistics import Interval

MISSING: Final = "—"

_NAMED = 5


def decimal(value: float | None, digits: int = 3) -> str:
    """Formats a number with a fixed number of decimals.

    >>> decimal(0.91249), decimal(float("nan"))
    ('0.912', '—')
    """
    return MISSING if value is None or math.isnan(value) else f"{value:.{digits}f}"


def mean_with_interval(interval: Interval) -> str:
    """Formats a mean and its confidence interval.

    >>> mean_with_interval(Interval(0.91249, 0.88, 0.9351, 12, 0))
    '0.912 [0.880, 0.935]'
    """
    if math.isnan(interval.low):
        return decimal(interval.mean)
    return f"{decimal(interval.mean)} [{decimal(interval.low)}, {decimal(interval.high)}]"


def signed_with_interval(interval: Interval) -> str:
    """Formats a mean difference and its confidence interval.

    >>> signed_with_interval(Interval(0.0124, -0.0031, 0.03, 12, 0))
    '+0.012 [-0.003, +0.030]'
    """
    mean, low, high = (MISSING if math.isnan(v) else f"{v:+.3f}" for v in (interval.mean, interval.low, interval.high))
    return mean if math.isnan(interval.low) else f"{mean} [{low}, {high}]"


def p_value(value: float) -> str:
    """Formats the p-value of a test.

    >>> p_value(0.0312), p_value(2e-9), p_value(float("nan"))
    ('0.031', '<0.001', '—')
    """
    return "<0.001" if value < 0.001 else decimal(value)


def first_few(names: Sequence[object]) -> str:
    """Names the first few of some things, such as cases, and counts the others.

    >>> first_few(["a", "b"]), first_few(list("abcdefg"))
    ('a, b', 'a, b, c, d, e and 2 more')
    """
    shown = ", ".join(map(str, names[:_NAMED]))
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"


def duration(seconds: float | None) -> str:
    """Formats a time span.

    >>> duration(3.42), duration(250), duration(7500), duration(200000)
    ('3.4 s', '4 min 10 s', '2 h 05 min', '2 d 7 h')
    """
    if seconds is None:
        return MISSING
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def count(value: float | None, unit: str = "") -> str:
    """Formats a large number to three digits with a prefix of the SI.

    >>> count(950), count(1_234_567), count(4.21e11, "FLOPs"), count(float("nan"))
    ('950', '1.23 M', '421 GFLOPs', '—')
    """
    if value is None or math.isnan(value):
        return MISSING
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:#.3g}".rstrip(".") + f" {prefix}{unit}"
    return f"{value:g} {unit}".rstrip()


def mebibytes(value: float | None) -> str:
    """Formats an amount of memory given in MiB.

    >>> mebibytes(512.3), mebibytes(4096)
    ('512 MiB', '4.0 GiB')
    """
    if value is None:
        return MISSING
    return f"{value:.0f} MiB" if value < 1024 else f"{value / 1024:.1f} GiB"


def words(name: str) -> str:
    """Turns a name out of a table into words.

    >>> words("kidney_and_mass"), words("surface_dice")
    ('Kidney and mass', 'Surface Dice')
    """
    return name.replace("_", " ").capitalize().replace("dice", "Dice")  # Dice was a person


def instant(iso: str | None) -> str:
    """Formats a moment given in ISO 8601.

    >>> instant("2025-11-21T12:00:09+00:00")
    '2025-11-21 12:00 UTC'
    """
    if iso is None:
        return MISSING
    moment = datetime.fromisoformat(iso)
    return f"{moment:%Y-%m-%d %H:%M} {moment.tzname() or ''}".rstrip()


def text(value: Any) -> str:
    """Formats anything that may be missing."""
    return MISSING if value is None or value == "" else str(value)
