"""Box plots of one score: a box for each run or row of a table, with its name beside it.

Whiskers are those of J. W. Tukey, "Exploratory Data Analysis", 1977.
"""

import textwrap
from collections.abc import Iterable, Mapping
from typing import Final
from xml.etree.ElementTree import Element

import pandas as pd
from matplotlib.cbook import boxplot_stats

from kidney_lab.reporting import svg
from kidney_lab.reporting.plots import WIDTH, axis_of
from kidney_lab.reporting.strips import add_case, add_mean

CAPTION: Final = (
    "Box: quartiles with the median; whiskers: the farthest cases within 1.5 lengths of the box; dots: cases beyond "
    "them; diamond: mean."
)

_CHARACTER: Final = 7.2  # width of a letter, in SVG units
_LETTERS: Final = 30  # of a line of a name, of which there are two at most


def box_plot(values: Mapping[str, "pd.Series[float]"], title: str) -> str:
    """Draws a box for each run or row.

    Args:
        values: by case, for each name; what is undefined is left out.
        title: of the axis, with the unit.

    Returns:
        SVG; where a name has no values its place stays empty. The axis goes from 0 to 1 unless values lie outside.
    """
    names = {name: name_lines(name) for name in values}
    row, top = 34.0, 8.0
    left = 22 + _CHARACTER * max(len(line) for lines in names.values() for line in lines)
    bottom = top + row * len(values)
    x = axis_of(values.values(), left, WIDTH - 14)
    picture = svg.picture(WIDTH, bottom + 42, f"{title} of every case: {', '.join(values)}")
    svg.add_horizontal_axis(picture, x, top=top, bottom=bottom, title=title)
    for index, (name, by_case) in enumerate(values.items()):
        y = top + row * (index + 0.5)
        group = svg.add(picture, "g", kind=svg.color_class(index), data_run=name)
        add_name(picture, names[name], x=left - 10, y=y, anchor="end")
        if not (defined := by_case.dropna()).empty:
            _add_box(group, defined, x=x, y=y, name=name)
    return svg.markup(picture)


def name_lines(name: str, letters: int = _LETTERS) -> list[str]:
    """Breaks a name into two lines at most; what is longer ends in an ellipsis.

    >>> name_lines("Baseline + MSAL", 10), name_lines("a b c d e f", 3)
    (['Baseline +', 'MSAL'], ['a b', 'c…'])
    """
    return textwrap.wrap(name, letters, max_lines=2, placeholder="…") or [name]


def add_name(parent: Element, lines: Iterable[str], *, x: float, y: float, anchor: str) -> None:
    """Writes the lines of a name around the height `y`."""
    lines = list(lines)
    for place, line in enumerate(lines):
        svg.add(
            parent, "text", line, kind="tick", x=x, y=y + 4 + 14 * (place - (len(lines) - 1) / 2), text_anchor=anchor
        )


def _add_box(group: Element, values: "pd.Series[float]", *, x: svg.Span, y: float, name: str) -> None:
    (box,) = boxplot_stats(values.to_numpy(dtype=float))
    low, q1, median, q3, high = (float(box[key]) for key in ("whislo", "q1", "med", "q3", "whishi"))
    for start, end in ((low, q1), (q3, high)):
        svg.add(group, "line", kind="whisker", x1=x(start), x2=x(end), y1=y, y2=y)
    for end in (low, high):
        svg.add(group, "line", kind="whisker", x1=x(end), x2=x(end), y1=y - 5, y2=y + 5)
    svg.add(group, "rect", kind="box", x=x(q1), y=y - 9, width=round(x(q3) - x(q1), 2), height=18, rx=2)
    svg.add(group, "line", kind="median", x1=x(median), x2=x(median), y1=y - 9, y2=y + 9)
    for case, value in values[(values < low) | (values > high)].items():
        add_case(group, str(case), float(value), cx=x(float(value)), cy=y, r=2.6, name=name)
    add_mean(group, values, x=x, y=y, name=name)
