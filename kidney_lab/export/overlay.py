"""A picture of a segmented scan: two axial slices and a coronal one with the outlines of kidney, tumor and cyst.

Shown as radiologists look at CT: from the patient's feet and front, so that the patient's right is on the left of the
picture, which is marked.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import Normal, Stroke
from numpy.typing import NDArray

from kidney_lab.data.body import body_box
from kidney_lab.errors import InputError
from kidney_lab.files import replacing
from kidney_lab.geometry import Spacing, Volume, reorient
from kidney_lab.labels import LABELS, REGIONS, TUMOR
from kidney_lab.metrics.volume import volume_ml
from kidney_lab.reporting.figures import COLORS
from kidney_lab.reporting.slice_drawing import draw_image, frame_slice, outline_region

_BACKGROUND, _INK = "#101418", "#e8edf2"
_EDGE = [Stroke(linewidth=2.4, foreground="black", alpha=0.6), Normal()]  # so that outlines stand off bright tissue
_PANEL_INCHES, _HEADER_INCHES, _LEGEND_INCHES = 4.6, 0.62, 0.4
_PROPORTIONS = (0.5, 1.6)  # narrowest and widest panel; what is longer still is shown smaller


class Plane(NamedTuple):
    """One panel.

    Args:
        title: above it.
        image: `(rows, columns)` HU; columns from the patient's right to the left.
        labels: of the same shape.
        pixel_mm: height and width of a pixel.
    """

    title: str
    image: NDArray[Any]
    labels: NDArray[Any]
    pixel_mm: tuple[float, float]

    @property
    def proportion(self) -> float:
        """Width through height, of the patient and not of the array."""
        height, width = (n * mm for n, mm in zip(self.image.shape, self.pixel_mm, strict=True))
        return float(width / height)


def save_overlay(path: Path, image: Volume, labels: Volume, *, name: str) -> None:
    """Draws a segmented scan into a PNG, which appears whole or not at all.

    Args:
        path: of the file, `.png`; its folder is made.
        image: Hounsfield units, in any orientation.
        labels: label values on the same grid.
        name: of the scan, for the title.

    Raises:
        InputError: the two lie on different grids.
    """
    if not image.grid.same_as(labels.grid, tolerance_mm=0.1):
        raise InputError(
            f"The picture of {name} needs labels on the grid of the image, but their shapes are {labels.grid.shape} "
            f"and {image.grid.shape}, and their corners lie up to {image.grid.distance_to(labels.grid):.1f} mm apart; "
            "resample the labels to the image."
        )
    figure = draw_overlay(reorient(image).array, reorient(labels).array, reorient(image).grid.spacing, name=name)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", facecolor=_BACKGROUND)


def draw_overlay(image: NDArray[Any], labels: NDArray[Any], spacing_mm: Spacing, *, name: str) -> Figure:
    """Draws a segmented scan.

    Args:
        image: `(D, H, W)` HU, orientation IPL.
        labels: label map `(D, H, W)`.
        spacing_mm: distance between voxels, (D, H, W), in mm.
        name: of the scan; the title has it with the volumes of kidneys, tumors and cysts in ml.

    Returns:
        A figure that belongs to no window: axial slices through most tumor and most kidney, and a coronal one.
    """
    planes = choose_planes(image, labels, spacing_mm)
    widths = [float(np.clip(plane.proportion, *_PROPORTIONS)) for plane in planes]
    height = _PANEL_INCHES + _HEADER_INCHES + _LEGEND_INCHES
    figure = Figure(figsize=(_PANEL_INCHES * sum(widths), height), dpi=100, facecolor=_BACKGROUND)
    for axes, plane in zip(figure.subplots(1, len(planes), width_ratios=widths), planes, strict=True):
        _draw(axes, plane)
    figure.suptitle(_title(name, labels, spacing_mm), color=_INK, fontsize=11, fontweight="bold", y=1 - 0.08 / height)
    handles = [
        Line2D([], [], color=COLORS[label], linewidth=2, label=label)
        for label, value in LABELS.items()
        if (labels == value).any()
    ]
    if handles:
        figure.legend(
            handles=handles, loc="lower center", ncols=len(handles), frameon=False, labelcolor=_INK, fontsize=10
        )
    top, bottom = 1 - _HEADER_INCHES / height, _LEGEND_INCHES / height
    figure.subplots_adjust(left=0.01, right=0.99, top=top, bottom=bottom, wspace=0.03)
    return figure


def choose_planes(image: NDArray[Any], labels: NDArray[Any], spacing_mm: Spacing) -> list[Plane]:
    """Chooses what to show, cut to the patient's body.

    Args:
        image: `(D, H, W)` HU, orientation IPL.
        labels: label map `(D, H, W)`.
        spacing_mm: mm, (D, H, W).

    Returns:
        The axial slice with the most tumor where there is any, that with the most kidney and mass, and the coronal
        slice with the most tumor, else kidney and mass; of an empty label map the middle slices.
    """
    tumor, foreground = labels == TUMOR, labels > 0
    _, rows, columns = body_box(image)
    z_tumor, z_kidney = _fullest(tumor, 0), _fullest(foreground, 0)
    y = _fullest(tumor if tumor.any() else foreground, 1)

    def axial(title: str, z: int) -> Plane:
        return Plane(
            f"{title}, slice {z + 1} of {len(image)} from above",
            image[z, rows, columns],
            labels[z, rows, columns],
            (spacing_mm[1], spacing_mm[2]),
        )

    shown = [axial("Most tumor", z_tumor)] if tumor.any() else []
    shown.append(axial("Most kidney" if foreground.any() else "Middle", z_kidney))
    title = "Coronal, " + ("most tumor" if tumor.any() else "most kidney" if foreground.any() else "middle")
    return [*shown, Plane(title, image[:, y, columns], labels[:, y, columns], (spacing_mm[0], spacing_mm[2]))]


def _fullest(mask: NDArray[np.bool_], axis: int) -> int:
    """Index along an axis of the plane that holds most of a mask; the middle one where it is empty."""
    counts = np.count_nonzero(mask, axis=tuple(other for other in range(3) if other != axis))
    return int(counts.argmax()) if counts.any() else len(counts) // 2


def _title(name: str, labels: NDArray[Any], spacing_mm: Spacing) -> str:
    volumes = {
        "kidneys with masses": volume_ml(np.isin(labels, REGIONS["kidney_and_mass"]), spacing_mm),
        **{label: volume_ml(labels == value, spacing_mm) for label, value in LABELS.items() if label != "kidney"},
    }
    return " · ".join([name, *(f"{region} {ml:.1f} ml" for region, ml in volumes.items())])


def _draw(axes: Axes, plane: Plane) -> None:
    draw_image(axes, plane.image)
    for label, value in LABELS.items():
        outline_region(axes, plane.labels == value, COLORS[label], 1.3, edge=_EDGE)
    frame_slice(axes, plane.image.shape, plane.pixel_mm)
    axes.set_title(plane.title, color=_INK, fontsize=10)
    for x, side in ((0.02, "R"), (0.98, "L")):
        align = "left" if side == "R" else "right"
        axes.text(x, 0.97, side, transform=axes.transAxes, color=_INK, ha=align, va="top", path_effects=_EDGE)
