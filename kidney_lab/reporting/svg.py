"""Axes drawn as inline SVG, coloured by the page's style sheet so that they follow light and dark mode."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from matplotlib.ticker import MaxNLocator

N_COLORS = 8
"""Number of classes `c0`, `c1`, ... that the style sheet colours."""


COLUMN = 400.0
"""Pictures up to this width, in SVG units, fit a column of text."""


def color_class(index: int) -> str:
    """Class that colours the series of this index; the colours come again, once more as `hollow`.

    >>> color_class(3), color_class(11)
    ('c3', 'c3 hollow')
    """
    return f"c{index % N_COLORS}{' hollow' if index // N_COLORS % 2 else ''}"


@dataclass(frozen=True)
class Span:
    """One axis: the values it covers, and where they lie in the picture; values of a logarithmic one are positive."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Position of a value, in SVG units."""
        low, high, at = np.log10([self.low, self.high, value]) if self.log else (self.low, self.high, value)
        return round(float(self.start + (at - low) / (high - low) * (self.end - self.start)), 2)


def span_of(values: Sequence[float], start: float, end: float) -> Span:
    """Axis that covers all finite values and ends at round numbers."""
    finite = [value for value in values if np.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    ticks = MaxNLocator(nbins=5).tick_values(low, high if high > low else low + 1.0)
    return Span(float(ticks[0]), float(ticks[-1]), start, end)


def log_span_of(values: Sequence[float], start: float, end: float) -> Span:
    """Logarithmic axis that covers all positive values, with a tenth of a value to spare at either end."""
    positive = [value for value in values if np.isfinite(value) and value > 0] or [1.0]
    return Span(min(positive) / 1.1, max(positive) * 1.1, start, end, log=True)


def ticks_of(span: Span, *, integer: bool = False) -> list[float]:
    """Round values along an axis; of a logarithmic one the fewer of a power of ten, the longer it is."""
    for digits in ((1, 2, 3, 4, 5, 7), (1, 2, 5), (1,)) if span.log else ():
        powers = range(int(np.floor(np.log10(span.low))), int(np.ceil(np.log10(span.high))) + 1)
        ticks = [float(f"{digit}e{power}") for power in powers for digit in digits]
        ticks = [tick for tick in ticks if span.low <= tick <= span.high]
        if 3 <= len(ticks) < 9 or digits == (1,):
            return ticks
        if len(ticks) < 3:
            break  # so short an axis has other round values
    values = MaxNLocator(nbins=5, integer=integer).tick_values(span.low, span.high)
    return [float(value) for value in values if span.low - 1e-9 <= value <= span.high + 1e-9]


def picture(width: float, height: float, label: str) -> ET.Element:
    """Starts a picture that scales with its column.

    Args:
        width: SVG units.
        height: SVG units.
        label: what it shows, for those who do not see it.
    """
    attributes = {"viewBox": f"0 0 {width:g} {height:g}", "role": "img", "aria-label": label}
    attributes["class"] = "plot" if width > COLUMN else "plot narrow"
    return ET.Element("svg", attributes)


def add(parent: ET.Element, tag: str, text: str = "", **attributes: Any) -> ET.Element:
    """Adds a shape or a text; `_` in the name of an attribute stands for `-`, and `kind` for `class`."""
    named = {("class" if key == "kind" else key.replace("_", "-")): str(value) for key, value in attributes.items()}
    child = ET.SubElement(parent, tag, named)
    child.text = text or None
    return child


def add_hint(shape: ET.Element, text: str) -> None:
    """Adds the text that appears when the pointer rests on a shape."""
    add(shape, "title", text)


def add_horizontal_axis(
    svg: ET.Element,
    x: Span,
    *,
    top: float,
    bottom: float,
    title: str,
    integer: bool = False,
    ticks: Sequence[float] | None = None,
) -> None:
    """Draws ticks with vertical grid lines under a plot; round values unless ticks are given."""
    for value in ticks_of(x, integer=integer) if ticks is None else ticks:
        add(svg, "line", kind="grid", x1=x(value), x2=x(value), y1=top, y2=bottom)
        add(svg, "text", f"{value:g}", kind="tick", x=x(value), y=bottom + 16, text_anchor="middle")
    add(svg, "text", title, kind="axis", x=(x.start + x.end) / 2, y=bottom + 34, text_anchor="middle")


def add_vertical_axis(svg: ET.Element, y: Span, *, left: float, right: float, title: str) -> None:
    """Draws ticks with horizontal grid lines beside a plot, and the title above them, where it can be read."""
    for value in ticks_of(y):
        add(svg, "line", kind="grid", x1=left, x2=right, y1=y(value), y2=y(value))
        add(svg, "text", f"{value:g}", kind="tick", x=left - 8, y=y(value) + 4, text_anchor="end")
    add(svg, "text", title, kind="axis", x=4, y=min(y.start, y.end) - 12, text_anchor="start")


def markup(svg: ET.Element) -> str:
    """Serialises a picture for an HTML page."""
    return ET.tostring(svg, encoding="unicode")
