"""Strips of a score plot: every case as a dot over a box of quartiles, and behind them a violin."""

from typing import Final
from xml.etree.ElementTree import Element

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import gaussian_kde

from kidney_lab.reporting import svg
from kidney_lab.reporting.formatting import decimal
from kidney_lab.wording import counted

MIN_VALUES: Final = 5
"""From so many values on there is a violin: fewer show no shape."""

_POINTS: Final = 48


def violin_outline(values: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Estimates how densely values lie, between the smallest and the largest.

    Args:
        values: finite.

    Returns:
        Positions, ascending, and the density there, 1 at its largest, cut at the extreme values; None where fewer than
        `MIN_VALUES`, or equal values, have no shape. Kernels are Gaussian, with the bandwidth of D. W. Scott
        ("Multivariate Density Estimation", 1992): the standard deviation over the fifth root of the number of values.
    """
    values = np.asarray(values, dtype=float)
    if len(values) < MIN_VALUES or np.ptp(values) <= np.finfo(float).eps * np.abs(values).max():
        return None
    positions = np.linspace(values.min(), values.max(), _POINTS)
    density = gaussian_kde(values)(positions)
    return positions, density / density.max()


def add_strip(group: Element, values: "pd.Series[float]", *, x: svg.Span, y: float, height: float, name: str) -> None:
    """Draws the values of one table in one region.

    Args:
        group: coloured part of the picture.
        values: by case, all defined; where there are none, nothing is drawn.
        x: axis of the values.
        y: middle of the strip.
        height: of the strip.
        name: of the table, for the hints.
    """
    if values.empty:
        return
    low, q1, median, q3, high = (float(v) for v in np.quantile(values, [0, 0.25, 0.5, 0.75, 1]))
    outline = violin_outline(values)
    half, radius = (8.0, 2.8) if outline is None else (4.5, 2.2)  # of box and dots, which lie inside a violin
    if outline is not None:
        svg.add(group, "polygon", kind="violin", points=_violin(*outline, x=x, y=y, half=0.47 * height))
    svg.add(group, "line", kind="whisker", x1=x(low), x2=x(high), y1=y, y2=y)
    svg.add(group, "rect", kind="box", x=x(q1), y=y - half, width=round(x(q3) - x(q1), 2), height=2 * half, rx=2)
    svg.add(group, "line", kind="median", x1=x(median), x2=x(median), y1=y - half - 1, y2=y + half + 1)
    # the golden ratio spreads neighbours evenly, and the same table always gives the same picture
    for rank, (case, value) in enumerate(values.items()):
        offset = round((rank * 0.618034 % 1 - 0.5) * 13, 1)
        add_case(group, str(case), float(value), cx=x(float(value)), cy=round(y + offset, 1), r=radius, name=name)
    add_mean(group, values, x=x, y=y, name=name)


def add_case(group: Element, case: str, value: float, *, cx: float, cy: float, r: float, name: str) -> None:
    """Draws a case as a dot of radius `r` that names itself.

    Args:
        group: coloured part of the picture.
        case: name.
        value: of its score.
        cx: across, in SVG units.
        cy: down, in SVG units.
        r: radius, in SVG units.
        name: of the run or row.
    """
    dot = svg.add(group, "circle", kind="dot", cx=cx, cy=cy, r=r, data_case=case, data_value=repr(value))
    svg.add_hint(dot, f"{name}, {case}: {decimal(value)}")


def add_mean(group: Element, values: "pd.Series[float]", *, x: svg.Span, y: float, name: str) -> None:
    """Draws the mean of defined values as a diamond around the height `y`."""
    at, mean = x(float(values.mean())), float(values.mean())
    corners = f"{at},{y - 5} {at + 5},{y} {at},{y + 5} {at - 5},{y}"
    diamond = svg.add(group, "polygon", kind="mean hint", points=corners, data_value=repr(mean))
    of = counted(len(values), "case")
    svg.add_hint(diamond, f"{name}: mean {decimal(mean)}, median {decimal(float(values.median()))}, {of}")


def _violin(positions: NDArray[np.float64], density: NDArray[np.float64], *, x: svg.Span, y: float, half: float) -> str:
    above = [f"{x(float(at))},{y - half * width:.2f}" for at, width in zip(positions, density, strict=True)]
    below = [f"{x(float(at))},{y + half * width:.2f}" for at, width in zip(positions, density, strict=True)]
    return " ".join([*above, *reversed(below)])
