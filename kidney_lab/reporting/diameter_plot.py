"""Dice of the tumor against its size: every case as a dot, and the running median of each run or row."""

from collections.abc import Mapping
from typing import Final
from xml.etree.ElementTree import Element

import pandas as pd

from kidney_lab.reporting import svg
from kidney_lab.reporting.formatting import decimal
from kidney_lab.reporting.plots import WIDTH, axis_of

STAGES: Final = {"T1a": 40.0, "T1b": 70.0, "T2": None}
"""Largest diameter in mm of each stage of the TNM classification (8th edition, kidney) that size alone decides."""

MIN_CASES: Final = 5
"""From so many cases on there is a running median, which is over as many cases at least."""

CAPTION: Final = (
    "Each dot is a case; size is the largest axial diameter of any tumor of the reference (logarithmic axis). The line "
    "is the median of the {window} cases nearest in order of size, fewer at its ends. Dashed: 40 and 70 mm, the limits "
    "of the stages T1a and T1b. Cases without a tumor are left out."
)

_TICKS: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 70.0, 100.0, 200.0)


def window_of(n_cases: int) -> int:
    """Number of cases of a running median: a quarter of all, odd, at least `MIN_CASES`.

    >>> window_of(8), window_of(20), window_of(60)
    (5, 5, 15)
    """
    return max(MIN_CASES, n_cases // 4 // 2 * 2 + 1)


def running_median(cases: pd.DataFrame) -> pd.DataFrame:
    """Smooths values over cases in order of size.

    Args:
        cases: `diameter_mm` and `value`, all defined.

    Returns:
        The same columns, one line per case in order of size: the median of the cases around it, `window_of` many,
        at either end of the half that there is. Empty with fewer than `MIN_CASES` cases.
    """
    if len(cases) < MIN_CASES:
        return cases.iloc[:0]
    window = window_of(len(cases))
    ordered = cases.sort_values("diameter_mm", kind="stable")
    medians = ordered["value"].rolling(window, center=True, min_periods=window // 2 + 1).median()
    return ordered.assign(value=medians)


def with_diameters(values: "pd.Series[float]", strata: pd.DataFrame | None) -> pd.DataFrame:
    """Puts scores beside the size of the tumor.

    Args:
        values: by case.
        strata: `strata.csv`; None knows no sizes.

    Returns:
        `diameter_mm` and `value` by case, where both are defined.
    """
    if strata is None or "tumor_diameter_mm" not in strata:
        return pd.DataFrame({"diameter_mm": [], "value": []}, dtype=float)
    diameters = pd.to_numeric(strata.set_index("case")["tumor_diameter_mm"], errors="coerce")
    return pd.DataFrame({"diameter_mm": diameters.reindex(values.index), "value": values}).dropna()


def diameter_plot(methods: Mapping[str, pd.DataFrame], title: str) -> str:
    """Draws scores against the diameter.

    Args:
        methods: `diameter_mm` and `value` by case, for each name of a run or row; one colour each.
        title: of the score.

    Returns:
        SVG with a logarithmic axis in mm.
    """
    left, right, top, bottom = 52.0, WIDTH - 14, 44.0, 300.0
    sizes = pd.concat([cases["diameter_mm"] for cases in methods.values()])
    x = svg.log_span_of(sizes.tolist(), left, right)
    y = axis_of([cases["value"] for cases in methods.values()], bottom, top)
    ticks = [tick for tick in _TICKS if x.low <= tick <= x.high]
    ticks = ticks if len(ticks) > 3 else svg.ticks_of(x)
    picture = svg.picture(WIDTH, bottom + 42, f"{title} against tumor diameter: {', '.join(methods)}")
    svg.add_horizontal_axis(picture, x, top=top, bottom=bottom, title="Largest axial tumor diameter (mm)", ticks=ticks)
    svg.add_vertical_axis(picture, y, left=left, right=right, title=title)
    _add_stages(picture, x, top=top, bottom=bottom)
    for index, (name, cases) in enumerate(methods.items()):
        group = svg.add(picture, "g", kind=svg.color_class(index), data_run=name)
        for case, size, value in cases[["diameter_mm", "value"]].itertuples(name=None):
            dot = svg.add(group, "circle", kind="dot", cx=x(size), cy=y(value), r=2.8, data_case=case)
            dot.set("data-value", repr(value))
            svg.add_hint(dot, f"{name}, {case}, {size:.0f} mm: {decimal(value)}")
        smooth = running_median(cases)
        if not smooth.empty:
            points = zip(smooth["diameter_mm"], smooth["value"], strict=True)
            line = svg.add(group, "polyline", kind="line", points=" ".join(f"{x(a)},{y(b)}" for a, b in points))
            svg.add_hint(line, f"{name}: running median")
    return svg.markup(picture)


def _add_stages(picture: Element, x: svg.Span, *, top: float, bottom: float) -> None:
    """Names the stages over the plot, and draws their limits where these lie in it."""
    start = x.low
    for stage, limit in STAGES.items():
        end = x.high if limit is None else min(limit, x.high)
        if limit is not None and x.low < limit < x.high:
            svg.add(picture, "line", kind="limit", x1=x(limit), x2=x(limit), y1=top, y2=bottom)
        if end > start and x(end) - x(start) > 30:
            svg.add(picture, "text", stage, kind="tick", x=(x(start) + x(end)) / 2, y=top - 6, text_anchor="middle")
        start = max(start, end)
