"""Axes drawn as inline SVG, coloured by the page's style sheet so that they follow light and dark mode."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
from matplotlib.ticker import MaxNLocator

N_COLORS = 8
"""Number of classes `c0`, `c1`, ... that the style sheet colours."""


def color_class(index: int) -> str:
    """Class that colours the series of this index."""
    return f"c{index % N_COLORS}"


@dataclass(frozen=True)
class Span:
    """One axis: the values it covers, and where they lie in the picture."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Position of a value, in SVG units."""
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 2)


def span_of(values: Sequence[float], start: float, end: float) -> Span:
    """Axis that covers all finite values and ends at round numbers."""
    finite = [value for value in values if np.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    ticks = MaxNLocator(nbins=5).tick_values(low, high if high > low else low + 1.0)
    return Span(float(ticks[0]), float(ticks[-1]), start, end)


def ticks_of(span: Span, *, integer: bool = False) -> list[float]:
    """Round values along an axis."""
    values = MaxNLocator(nbins=5, integer=integer).tick_values(span.low, span.high)
    return [float(value) for value in values if span.low - 1e-9 <= value <= span.high + 1e-9]


def picture(width: float, height: float, label: str) -> ET.Element:
    """Starts a picture that scales with its column.

    Args:
        width: SVG units.
        height: SVG units.
        label: what it shows, for those who do not see it.
    """
    attributes = {"viewBox": f"0 0 {width:g} {height:g}", "role": "img", "aria-label": label, "class": "plot"}
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
    svg: ET.Element, x: Span, *, top: float, bottom: float, title: str, integer: bool = False
) -> None:
    """Draws ticks with vertical grid lines under a plot."""
    for value in ticks_of(x, integer=integer):
        add(svg, "line", kind="grid", x1=x(value), x2=x(value), y1=top, y2=bottom)
        add(svg, "text", f"{value:g}", kind="tick", x=x(value), y=bottom + 16, text_anchor="middle")
    add(svg, "text", title, kind="axis", x=(x.start + x.end) / 2, y=bottom + 34, text_anchor="middle")


def add_vertical_axis(svg: ET.Element, y: Span, *, left: float, right: float) -> None:
    """Draws ticks with horizontal grid lines beside a plot."""
    for value in ticks_of(y):
        add(svg, "line", kind="grid", x1=left, x2=right, y1=y(value), y2=y(value))
        add(svg, "text", f"{value:g}", kind="tick", x=left - 8, y=y(value) + 4, text_anchor="end")


def markup(svg: ET.Element) -> str:
    """Serialises a picture for an HTML page."""
    return ET.tostring(svg, encoding="unicode")
