"""Qualitative panels as in the papers' figures: one row a case, one column a method, the reference last.

Like Fig. 4 of Zheng et al. (MSALDS, BMVC 2022): the slice with most tumor, with Dice and the average surface distance
(ASD) of the case in the corner.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import Normal, Stroke
from numpy.typing import NDArray

from kidney_lab.labels import LABELS, REGIONS
from kidney_lab.metrics.distances import average_symmetric_surface_distance
from kidney_lab.metrics.surface import common_box, surface_distances
from kidney_lab.reporting.case_files import Scan
from kidney_lab.reporting.figures import COLORS, informative_slices
from kidney_lab.reporting.formatting import MISSING, decimal, words
from kidney_lab.reporting.slice_drawing import draw_image, fill_region, frame_slice, outline_region

REFERENCE: Final = "Reference"
"""Heading of the last column."""

_PAGE_MM, _NARROWEST_MM = 170.0, 28.0
_MARGIN_MM = 12.0
_HEIGHT_BY_WIDTH: Final = 0.75  # of a cell
_HEADER_MM, _LINE_MM, _FOOTER_MM, _SIDE_MM, _GAP_MM = 6.0, 3.5, 9.0, 9.0, 0.8
_INCH_MM = 25.4
_POINTS = 8
_EDGE = [Stroke(linewidth=2.0, foreground="black"), Normal()]  # white letters on any gray


@dataclass(frozen=True)
class Corner:
    """What the corner of a cell says of a region in the whole case: Dice, and ASD in mm; NaN where undefined."""

    region: str
    dice: float
    asd_mm: float

    def __str__(self) -> str:
        asd = MISSING if np.isnan(self.asd_mm) else f"{self.asd_mm:.1f} mm"
        return f"{words(self.region)}\nDice {decimal(self.dice)}\nASD {asd}"


@dataclass(frozen=True, eq=False)
class PanelRow:
    """One case of the figure; planes are `(H, W)` of one slice, cut to what is labelled in it.

    Args:
        case: id.
        role: why it is shown.
        image: in HU.
        reference: labels.
        predictions: labels by method; a method that has kept none is missing.
        corners: by method.
        pixel_mm: height and width of a pixel.
        slice_number: from 1.
    """

    case: str
    role: str
    image: NDArray[Any]
    reference: NDArray[np.uint8]
    predictions: Mapping[str, NDArray[np.uint8]]
    corners: Mapping[str, Corner]
    pixel_mm: tuple[float, float]
    slice_number: int


def panel_row(
    case: str,
    role: str,
    scan: Scan,
    predictions: Mapping[str, NDArray[np.uint8]],
    *,
    region: str,
    dice: Mapping[str, float],
) -> PanelRow:
    """Cuts the slice with most tumor out of a case, and measures its surfaces.

    Args:
        case: id.
        role: why it is shown.
        scan: image and reference.
        predictions: label map `(D, H, W)` by method, at least one.
        region: whose Dice and ASD are shown.
        dice: of the case, by method.

    Returns:
        A row. ASD is that of the surface elements of the whole case, pooled over both directions (`assd`).
    """
    z = informative_slices(scan.reference, next(iter(predictions.values())))[0][1]
    spacing = scan.spacing_mm
    at = (z, *_plane([labels[z] for labels in (scan.reference, *predictions.values())], spacing[1:]))
    return PanelRow(
        case=case,
        role=role,
        image=np.array(scan.image[at]),
        reference=np.array(scan.reference[at]),
        predictions={name: np.array(labels[at]) for name, labels in predictions.items()},
        corners={
            name: Corner(region, float(dice.get(name, np.nan)), _asd(labels, scan, region))
            for name, labels in predictions.items()
        },
        pixel_mm=(spacing[1], spacing[2]),
        slice_number=z + 1,
    )


def draw_panels(rows: Sequence[PanelRow], methods: Sequence[str], *, note: str = "") -> Figure:
    """Draws the figure, 170 mm wide, or wider where a column would be under 28 mm.

    Args:
        rows: at least one.
        methods: in the order of the columns.
        note: below the figure, such as what the images are.

    Returns:
        A figure that belongs to no window.
    """
    cell = max((_PAGE_MM - _SIDE_MM) / (len(methods) + 1), _NARROWEST_MM)
    tall = cell * _HEIGHT_BY_WIDTH
    names = [textwrap.fill(name, max(int(cell / 1.5), 8)) for name in (*methods, REFERENCE)]
    header = _HEADER_MM + _LINE_MM * max(name.count("\n") for name in names)
    width, height = _SIDE_MM + cell * len(names), header + tall * len(rows) + _FOOTER_MM
    figure = Figure(figsize=(width / _INCH_MM, height / _INCH_MM), dpi=100, facecolor="white")
    for line, row in enumerate(rows):
        top = height - header - line * tall
        for column, method in enumerate((*methods, REFERENCE)):
            box = (_SIDE_MM + column * cell, top - tall, cell - _GAP_MM, tall - _GAP_MM)
            axes = figure.add_axes((box[0] / width, box[1] / height, box[2] / width, box[3] / height))
            _draw_cell(axes, row, method)
            if line == 0:
                axes.set_title(names[column], fontsize=_POINTS, pad=3)
        figure.text(
            0.5 * _SIDE_MM / width,
            (top - tall / 2) / height,
            f"{row.case}\n{row.role}",
            rotation=90,
            ha="center",
            va="center",
            fontsize=_POINTS - 1,
        )
    _add_key(figure, rows, note)
    return figure


def page_png(figure: Figure) -> bytes:
    """Encodes the figure for the page."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None}, pil_kwargs={"optimize": True})
    return buffer.getvalue()


def _plane(planes: Sequence[NDArray[np.uint8]], pixel_mm: Sequence[float]) -> tuple[slice, slice]:
    """Rows and columns that hold everything labelled, with a margin, in the proportion of a cell where these fit."""
    _, *found = common_box(*[plane[None] for plane in planes])
    shape = planes[0].shape
    ends = [
        (part.start, part.stop) if part.stop > part.start else (0, size)
        for part, size in zip(found, shape, strict=True)
    ]
    sizes = [(stop - start) * mm + 2 * _MARGIN_MM for (start, stop), mm in zip(ends, pixel_mm, strict=True)]
    high = max(sizes[0], sizes[1] * _HEIGHT_BY_WIDTH)
    cut = []
    for (start, stop), mm, size, limit in zip(ends, pixel_mm, (high, high / _HEIGHT_BY_WIDTH), shape, strict=True):
        length = min(round(size / mm), limit)
        first = min(max((start + stop - length) // 2, 0), limit - length)
        cut.append(slice(first, first + length))
    return cut[0], cut[1]


def _asd(labels: NDArray[np.uint8], scan: Scan, region: str) -> float:
    box = common_box(labels, scan.reference)
    claimed, true = (np.isin(volume[box], REGIONS[region]) for volume in (labels, scan.reference))
    return average_symmetric_surface_distance(surface_distances(claimed, true, scan.spacing_mm))


def _draw_cell(axes: Axes, row: PanelRow, method: str) -> None:
    draw_image(axes, row.image)
    labels = row.reference if method == REFERENCE else row.predictions.get(method)
    if labels is not None:
        for name, value in LABELS.items():
            fill_region(axes, labels == value, COLORS[name], alpha=0.4)
            outline_region(axes, labels == value, COLORS[name], 0.9)
    frame_slice(axes, row.image.shape, row.pixel_mm)
    said = str(row.corners[method]) if method in row.corners else "" if method == REFERENCE else "no label map kept"
    corner = axes.text(
        0.02, 0.97, said, transform=axes.transAxes, fontsize=_POINTS - 1.5, color="white", va="top", linespacing=1.1
    )
    corner.set_path_effects(_EDGE)


def _add_key(figure: Figure, rows: Sequence[PanelRow], note: str) -> None:
    there = {
        int(value) for row in rows for plane in (row.reference, *row.predictions.values()) for value in np.unique(plane)
    }
    handles = [Patch(color=COLORS[name], label=name) for name, value in LABELS.items() if value in there]
    if note:
        handles.append(Patch(alpha=0, label=note))
    if handles:
        figure.legend(
            handles=handles, loc="lower center", ncols=len(handles), frameon=False, fontsize=_POINTS - 1, handlelength=1
        )
