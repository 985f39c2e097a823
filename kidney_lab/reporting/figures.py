"""Pictures of a case: three axial slices with the reference and the prediction."""

from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import Normal, Stroke
from numpy.typing import NDArray

from kidney_lab.errors import InputError
from kidney_lab.files import replacing
from kidney_lab.geometry import Spacing
from kidney_lab.labels import LABELS, TUMOR
from kidney_lab.metrics.surface import check_pair
from kidney_lab.reporting.slice_drawing import draw_image, fill_region, frame_slice, outline_region

COLORS: Final = {"kidney": "#56b4e9", "tumor": "#ff7f50", "cyst": "#4ad6a0"}
_MARGIN_MM = 25.0
_HEADER_INCHES, _LEGEND_INCHES = 0.6, 0.45
_EDGE = [Stroke(linewidth=2.6, foreground="black", alpha=0.55), Normal()]  # so that outlines stand off the fill
_BACKGROUND = "#101418"
_INK = "#e8edf2"


def draw_case(
    image: NDArray[Any],
    reference: NDArray[Any],
    prediction: NDArray[Any],
    spacing_mm: Spacing,
    *,
    title: str = "",
) -> Figure:
    """Draws three axial slices: the reference filled, the prediction outlined.

    The slices are the one with the largest tumor, the one where prediction and reference differ most, and the middle
    of the kidneys; all show the same part of the plane, cut to what is labelled.

    Args:
        image: `(D, H, W)` in HU, orientation IPL.
        reference: label map `(D, H, W)`.
        prediction: label map `(D, H, W)`.
        spacing_mm: distance between voxels, (D, H, W), in mm.
        title: above the slices.

    Returns:
        A figure that belongs to no window.

    Raises:
        InputError: if the shapes differ.
    """
    check_pair(prediction, reference, spacing_mm)
    if image.shape != reference.shape:
        raise InputError(
            f"The image has shape {image.shape} and the labels {reference.shape}, but a picture needs one "
            "grid: resample the labels to the grid of the image."
        )
    rows, columns = _plane_box(reference, prediction, spacing_mm)
    shown = image[0, rows, columns].shape
    slice_height = 3.92 * shown[0] * spacing_mm[1] / (shown[1] * spacing_mm[2])  # inches, three slices on 12 inches
    height = float(np.clip(slice_height, 1.5, 5.0)) + _HEADER_INCHES + _LEGEND_INCHES
    figure = Figure(figsize=(12, height), dpi=100, facecolor=_BACKGROUND)
    for axes, (name, z) in zip(figure.subplots(1, 3), informative_slices(reference, prediction), strict=True):
        _draw_slice(axes, image[z, rows, columns], reference[z, rows, columns], prediction[z, rows, columns])
        frame_slice(axes, shown, spacing_mm[1:])
        axes.set_title(f"{name}, slice {z + 1} of {len(image)}", color=_INK, fontsize=10)
    _add_legend(figure, np.union1d(np.unique(reference), np.unique(prediction)))
    if title:
        figure.suptitle(title, color=_INK, fontsize=11, fontweight="bold", y=1 - 0.08 / height, va="top")
    top, bottom = 1 - _HEADER_INCHES / height, _LEGEND_INCHES / height
    figure.subplots_adjust(left=0.01, right=0.99, top=top, bottom=bottom, wspace=0.03)
    return figure


def save_case_panel(
    path: Path,
    *,
    image: NDArray[Any],
    reference: NDArray[Any],
    prediction: NDArray[Any],
    spacing_mm: Spacing,
) -> None:
    """Draws a case into a PNG, named after it; arguments as for `draw_case`."""
    figure = draw_case(image, reference, prediction, spacing_mm, title=path.stem)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", facecolor=_BACKGROUND, pil_kwargs={"optimize": True})


def informative_slices(reference: NDArray[Any], prediction: NDArray[Any]) -> list[tuple[str, int]]:
    """Chooses the three slices to show.

    Args:
        reference: label map `(D, H, W)`.
        prediction: label map `(D, H, W)`.

    Returns:
        What each slice is and its index along the first axis. Where the reference has no tumor the first is the
        largest predicted tumor, and without that the largest labelled area.
    """
    tumor, claimed = _areas(reference == TUMOR), _areas(prediction == TUMOR)
    labelled = _areas(reference > 0) if (reference > 0).any() else _areas(prediction > 0)
    wrong = _areas(reference != prediction)
    if tumor.any():
        first = "Largest tumor", int(tumor.argmax())
    elif claimed.any():
        first = "Largest predicted tumor (none in reference)", int(claimed.argmax())
    else:
        first = "Largest labelled area", int(labelled.argmax())
    slices = np.flatnonzero(labelled) if labelled.any() else np.arange(len(labelled))
    middle = int(slices[len(slices) // 2])
    second = ("Most disagreement", int(wrong.argmax())) if wrong.any() else ("No disagreement", int(slices[0]))
    return [first, second, ("Middle of the kidneys" if labelled.any() else "Middle of the volume", middle)]


def _areas(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    return np.asarray(np.count_nonzero(mask, axis=(1, 2)))


def _plane_box(reference: NDArray[Any], prediction: NDArray[Any], spacing_mm: Spacing) -> tuple[slice, slice]:
    """Rows and columns that hold the reference (else the prediction) in any slice, with a margin; all if empty."""
    labelled = reference > 0 if (reference > 0).any() else prediction > 0
    box = []
    for axis, step in zip((1, 2), spacing_mm[1:], strict=True):
        at = np.flatnonzero(labelled.any(axis=(0, 3 - axis)))
        margin = round(_MARGIN_MM / step)
        box.append(slice(max(int(at[0]) - margin, 0), int(at[-1]) + margin + 1) if at.size else slice(None))
    return box[0], box[1]


def _draw_slice(axes: Axes, image: NDArray[Any], reference: NDArray[Any], prediction: NDArray[Any]) -> None:
    draw_image(axes, image)
    for name, value in LABELS.items():
        fill_region(axes, reference == value, COLORS[name], alpha=0.33)
        outline_region(axes, prediction == value, COLORS[name], 1.4, edge=_EDGE)


def _add_legend(figure: Figure, values: NDArray[Any]) -> None:
    handles: list[Patch | Line2D] = []
    for name, value in LABELS.items():
        if value in values:
            handles.append(Patch(facecolor=COLORS[name], alpha=0.5, label=f"{name}, reference"))
            handles.append(Line2D([], [], color=COLORS[name], linewidth=2, label=f"{name}, prediction"))
    if handles:
        figure.legend(
            handles=handles, loc="lower center", ncols=len(handles), frameon=False, labelcolor=_INK, fontsize=9
        )
