"""Plots as files for a paper: the page's own pictures, drawn once more by matplotlib into PNG and PDF.

A picture is one drawing for both: its shapes and their places come from the SVG, and only what a class looks like is
said here again, as on paper: black on white, and the colours of M. Okabe and K. Ito ("Color Universal Design", 2008),
which people of every colour vision can tell apart; their yellow, which hardly shows on white, is P. Tol's wine red
("Colour Schemes", SRON technical note, 2021) here.
"""

import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Polygon, Rectangle

from kidney_lab.files import write_text
from kidney_lab.reporting.figure_files import save_figure
from kidney_lab.reporting.plot import Plot
from kidney_lab.reporting.svg import COLUMN, N_COLORS

PALETTE: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#882255")
"""One colour for each class `c0`, `c1`, ..."""

COLUMN_MM, PAGE_MM = 85.0, 170.0
"""Widths of figures: one column of text, and the page."""

FONT_POINTS: Final = 8.0
CAPTIONS: Final = "How to read the figures"

_INK, _QUIET, _GRID = "#111111", "#333333", "#d9d9d9"
_SERIES: Final = "series"  # stands for the colour of the group

Style = dict[str, Any]
_STYLES: Final[dict[str, Style]] = {
    "grid": {"stroke": _GRID, "width": 0.5},
    "limit": {"stroke": _QUIET, "width": 0.8, "dashes": (4, 3)},
    "rule": {"stroke": _INK, "width": 0.7},
    "clique": {"stroke": _INK, "width": 3.0},
    "line": {"stroke": _SERIES, "width": 1.4},
    "line seed": {"stroke": _SERIES, "width": 0.5, "stroke_alpha": 0.6},
    "interval": {"stroke": _SERIES, "width": 1.0},
    "whisker": {"stroke": _SERIES, "width": 0.8},
    "median": {"stroke": _SERIES, "width": 1.8},
    "dot": {"fill": _SERIES, "fill_alpha": 0.6},
    "dot marked": {"fill": _SERIES, "stroke": "#ffffff", "width": 0.6},
    "violin": {"fill": _SERIES, "fill_alpha": 0.16, "stroke": _SERIES, "stroke_alpha": 0.4, "width": 0.5},
    "box": {"fill": _SERIES, "fill_alpha": 0.16, "stroke": _SERIES, "width": 0.7},
    "mean": {"fill": "#ffffff", "stroke": _SERIES, "width": 0.9},
}
"""What each class looks like: colours, and widths in points; as `report.css` says it for the page."""

_NUMBERS: Final = ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height")

_TEXT: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",  # which matplotlib brings, so that every machine draws the same
    "text.parse_math": False,  # names of rows are no formulas
}


def write_figures(plots: Iterable[Plot], folder: Path) -> list[Path]:
    """Writes every plot as `save_figure` does.

    What a caption must say stands in `captions.md` beside them.

    Args:
        plots: with names unlike each other.
        folder: made if missing.

    Returns:
        The pictures, and last the captions.
    """
    written, captions = list[Path](), [f"# {CAPTIONS}", ""]
    for plot in plots:
        captions += [f"## {plot.name}", "", f"{plot.title}.", "", plot.caption, ""]
        figure = draw(plot)
        with mpl.rc_context(_TEXT):
            written += save_figure(folder, plot.name, figure, title=plot.title)
    write_text(folder / "captions.md", "\n".join(captions))
    return [*written, folder / "captions.md"]


def draw(plot: Plot) -> Figure:
    """Draws a plot with its legend and its note on the data.

    Args:
        plot: as the page shows it.

    Returns:
        A figure of the width of a column or of the page, in which text has `FONT_POINTS`; it belongs to no window.
    """
    picture = ET.fromstring(plot.svg)
    width, height = (float(size) for size in picture.attrib["viewBox"].split()[2:])
    inches = (COLUMN_MM if width <= COLUMN else PAGE_MM) / 25.4
    above = inches * height / width
    with mpl.rc_context(_TEXT):
        figure = Figure(figsize=(inches, above))
        below = _add_legend(figure, plot, inches)
        figure.set_size_inches(inches, above + below)
        axes = figure.add_axes((0, below / (above + below), 1, above / (above + below)))
        axes.set(xlim=(0, width), ylim=(height, 0))
        axes.set_axis_off()
        _draw_children(axes, picture, PALETTE[0], hollow=False)
    return figure


def _add_legend(figure: Figure, plot: Plot, inches: float) -> float:
    """Puts legend and note at the foot; returns the height that they take, in inches."""
    note = 0.0
    if plot.note:
        style: Style = {"fontsize": FONT_POINTS, "fontstyle": "italic", "color": _INK, "va": "bottom"}
        figure.text(0.05, 0.03, plot.note, transform=figure.dpi_scale_trans, **style)
        note = 1.7 * FONT_POINTS / 72
    if not plot.legend:
        return note
    letters = round(inches * 14)  # that fit on a line at this size of letters
    handles = [_key(index, textwrap.fill(name, letters)) for index, name in plot.legend]
    style = {"frameon": False, "fontsize": FONT_POINTS, "borderaxespad": 0.0, "columnspacing": 1.2, "handlelength": 1.0}
    style |= {"bbox_to_anchor": (0.05, note + 0.03), "bbox_transform": figure.dpi_scale_trans}
    for columns in range(min(len(handles), 4), 0, -1):  # as many side by side as there is room for
        legend = figure.legend(handles=handles, ncols=columns, loc="lower left", **style)
        box = legend.get_window_extent()
        if columns == 1 or box.width / figure.dpi <= inches - 0.1:
            break
        legend.remove()
    return note + 0.06 + float(box.height) / figure.dpi


def _key(index: int, name: str) -> Line2D:
    color, hollow = PALETTE[index % N_COLORS], bool(index // N_COLORS % 2)
    fill = "none" if hollow else color
    return Line2D([], [], linestyle="none", marker="s", markersize=5, color=color, markerfacecolor=fill, label=name)


def _draw_children(axes: Axes, parent: ET.Element, color: str, *, hollow: bool) -> None:
    for shape in parent:
        classes = [name for name in (shape.get("class") or "").split() if name != "hint"]
        if shape.tag == "g":
            own = next((PALETTE[index] for index in range(N_COLORS) if f"c{index}" in classes), color)
            _draw_children(axes, shape, own, hollow="hollow" in classes)
        elif shape.tag == "text":
            _draw_text(axes, shape, is_label="label" in classes)
        elif shape.tag != "title":
            style = _STYLES[" ".join(classes)]
            if hollow and shape.tag == "circle":
                style = {"stroke": _SERIES, "width": 0.9}
            elif hollow and shape.tag == "polyline":
                style = {**style, "dashes": (4, 2)}
            axes.add_artist(_artist(shape, style, color))


def _draw_text(axes: Axes, shape: ET.Element, *, is_label: bool) -> None:
    side = {"start": "left", "middle": "center", "end": "right"}[shape.get("text-anchor", "start")]
    weight = "bold" if is_label else "normal"
    at = float(shape.attrib["x"]), float(shape.attrib["y"])
    axes.text(*at, shape.text or "", ha=side, va="baseline", fontsize=FONT_POINTS, color=_INK, fontweight=weight)


def _artist(shape: ET.Element, style: Style, color: str) -> Artist:
    """A shape of matplotlib; its outline and its inside have the colour of the series where the style says so."""

    def paint(what: str) -> Any:
        named = style.get(what)
        return to_rgba(color if named == _SERIES else named, style.get(f"{what}_alpha", 1.0)) if named else "none"

    at = {key: float(value) for key, value in shape.attrib.items() if key in _NUMBERS}
    if shape.tag in ("line", "polyline"):
        if shape.tag == "line":
            x, y = [at["x1"], at["x2"]], [at["y1"], at["y2"]]
        else:
            x, y = (list(values) for values in zip(*_points(shape), strict=True))
        line = Line2D(x, y, color=paint("stroke"), linewidth=style["width"], solid_capstyle="butt")
        line.set_dashes(style.get("dashes", ()))
        return line
    kind: Style = {"facecolor": paint("fill"), "edgecolor": paint("stroke"), "linewidth": style.get("width", 0.0)}
    if shape.tag == "circle":
        return Circle((at["cx"], at["cy"]), at["r"], **kind)
    if shape.tag == "rect":
        return Rectangle((at["x"], at["y"]), at["width"], at["height"], **kind)
    return Polygon(_points(shape), closed=True, **kind)


def _points(shape: ET.Element) -> list[tuple[float, float]]:
    pairs = (point.split(",") for point in shape.attrib["points"].split())
    return [(float(x), float(y)) for x, y in pairs]
