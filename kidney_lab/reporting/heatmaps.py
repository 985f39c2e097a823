"""Pictures of heat maps: where ERNet's detector looked, and what its refit made of the probabilities there.

Like Figs. 4 and 5 of Xue et al. (ERNet, Traitement du Signal 42(4), 2025), whose "darker blue indicates greater
pixel-level attention", with the probabilities before and after the refit beside them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from kidney_lab.errors import InputError
from kidney_lab.files import replacing
from kidney_lab.geometry import Spacing
from kidney_lab.metrics.dice import dice
from kidney_lab.reporting.formatting import decimal, words
from kidney_lab.reporting.slice_drawing import draw_image, outline_region

THRESHOLD: Final = 0.5
"""Of a probability, and of the refit's output."""

REFERENCE_LINE: Final = ("#2fbf87", 3.6)
PREDICTION_LINE: Final = ("#e8442e", 1.3)
"""Colour and width in points: where the two agree the thinner line lies on the wider one, and both are seen."""

_MARGIN_MM = 15.0
_HEADER_INCHES, _TITLE_INCHES, _FOOTER_INCHES = 0.6, 0.35, 0.65


@dataclass(frozen=True)
class HeatSlice:
    """What the refit saw and made of one region in one slice; all arrays are `(H, W)`.

    Args:
        region: name of the region.
        image: in HU.
        heat: 0 to 1; 0 outside the regions of interest.
        before: probability of the detector, 0 to 1; 0 outside the regions of interest.
        after: output of the refit, which may leave 0 to 1 and is then shown as 0 or 1.
        prediction: mask of the final segmentation.
        reference: mask, or None for a scan without one.

    Raises:
        InputError: if the shapes differ.
    """

    region: str
    image: NDArray[Any]
    heat: NDArray[Any]
    before: NDArray[Any]
    after: NDArray[Any]
    prediction: NDArray[Any]
    reference: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        shapes = {name: plane.shape for name, plane in vars(self).items() if isinstance(plane, np.ndarray)}
        if len(self.image.shape) != 2 or len(set(shapes.values())) > 1:
            raise InputError(
                f"The planes of a heat map have the shapes {shapes}, but a picture needs one (H, W): give the same "
                "slice of each."
            )


def draw_heatmaps(slices: Sequence[HeatSlice], spacing_mm: Spacing, *, title: str = "") -> Figure:
    """Draws a row per slice: image, heat over the image, probability before and after the refit.

    Outlines show the reference and the prediction: before the refit the probability's, elsewhere the final one. Every
    row is cut to the heat and the masks in it, and says the slice's own Dice where there is a reference.

    Args:
        slices: at least one.
        spacing_mm: distance between voxels of the volume that they are taken from, (D, H, W), in mm.
        title: above the rows.

    Returns:
        A figure that belongs to no window.
    """
    cuts = [_cut(shown, spacing_mm) for shown in slices]
    heights = [float(np.clip(2.95 * _height_by_width(cut, spacing_mm), 1.2, 4.0)) for cut in cuts]
    height = sum(heights) + _TITLE_INCHES * (len(slices) - 1) + _HEADER_INCHES + _FOOTER_INCHES
    figure = Figure(figsize=(12, height), dpi=100)
    grid = figure.subplots(len(slices), 4, squeeze=False, height_ratios=heights)
    figure.subplots_adjust(
        left=0.01,
        right=0.99,
        top=1 - _HEADER_INCHES / height,
        bottom=_FOOTER_INCHES / height,
        wspace=0.02,
        hspace=_TITLE_INCHES * len(slices) / sum(heights),
    )
    for row, shown, (rows, columns) in zip(grid, slices, cuts, strict=True):
        _draw_row(row, shown)
        for axes in row:
            axes.set_axis_off()
            axes.set_aspect(spacing_mm[1] / spacing_mm[2])
            axes.set_xlim(columns[0] - 0.5, columns[1] + 0.5)
            axes.set_ylim(rows[1] + 0.5, rows[0] - 0.5)
    _add_keys(figure, grid[-1], with_reference=any(shown.reference is not None for shown in slices))
    if title:
        figure.suptitle(title, fontsize=11, fontweight="bold", y=1 - 0.08 / height, va="top")
    return figure


def save_heatmaps(path: Path, slices: Sequence[HeatSlice], spacing_mm: Spacing) -> None:
    """Draws slices of a case into a PNG, named after it; arguments as for `draw_heatmaps`."""
    figure = draw_heatmaps(slices, spacing_mm, title=path.stem)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", pil_kwargs={"optimize": True})


def _draw_row(row: NDArray[Any], shown: HeatSlice) -> None:
    """Image, heat, probability before, probability after."""
    for axes in row[:2]:
        draw_image(axes, shown.image)
    heat = np.ma.masked_where(shown.heat <= 0, shown.heat)
    row[1].imshow(heat, cmap="Blues", vmin=0, vmax=1, alpha=0.75, interpolation="nearest")
    for axes, plane in zip(row[2:], (shown.before, shown.after), strict=True):
        axes.imshow(plane, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    before, after = shown.before > THRESHOLD, shown.prediction > 0
    titles = (
        words(shown.region),
        "Heat",
        f"Before the refit{_score(before, shown)}",
        f"After it{_score(after, shown)}",
    )
    for axes, mask, title in zip(row, (after, after, before, after), titles, strict=True):
        if shown.reference is not None:
            outline_region(axes, shown.reference > 0, *REFERENCE_LINE)
        outline_region(axes, mask, *PREDICTION_LINE)
        axes.set_title(title, fontsize=10)


def _score(mask: NDArray[np.bool_], shown: HeatSlice) -> str:
    return "" if shown.reference is None else f", Dice of this slice {decimal(dice(mask, shown.reference))}"


def _add_keys(figure: Figure, lowest: NDArray[Any], *, with_reference: bool) -> None:
    """What lines and colours mean, below the lowest row."""
    lines = {"Prediction": PREDICTION_LINE} | ({"Reference": REFERENCE_LINE} if with_reference else {})
    handles = [Line2D([], [], color=color, linewidth=width, label=name) for name, (color, width) in lines.items()]
    height = figure.get_size_inches()[1]
    left, column = lowest[0].get_position(original=True).x0, lowest[0].get_position(original=True).width
    figure.legend(
        handles=handles, loc="center", bbox_to_anchor=(left + column / 2, 0.35 / height), ncols=2, frameon=False
    )
    for axes, name in zip(lowest[1:], ("Heat", "Probability", "Output of the refit"), strict=True):
        place = axes.get_position(original=True)
        bar = figure.add_axes((place.x0 + 0.1 * place.width, 0.45 / height, 0.8 * place.width, 0.1 / height))
        figure.colorbar(axes.images[-1], cax=bar, orientation="horizontal").set_label(name, fontsize=9, labelpad=1)
        bar.tick_params(labelsize=8, pad=1, length=2)


def _cut(shown: HeatSlice, spacing_mm: Spacing) -> list[tuple[int, int]]:
    """First and last row, first and last column to show; the whole slice where nothing was found or is wanted."""
    wanted = (shown.heat > 0) | (shown.before > THRESHOLD) | (shown.prediction > 0)
    if shown.reference is not None:
        wanted |= shown.reference > 0
    limits = []
    for axis, step in enumerate(spacing_mm[1:]):
        last = wanted.shape[axis] - 1
        at = np.flatnonzero(wanted.any(axis=1 - axis)) if wanted.any() else np.array([0, last])
        margin = round(_MARGIN_MM / step)
        limits.append((max(int(at[0]) - margin, 0), min(int(at[-1]) + margin, last)))
    return limits


def _height_by_width(cut: list[tuple[int, int]], spacing_mm: Spacing) -> float:
    height, width = ((last - first + 1) * step for (first, last), step in zip(cut, spacing_mm[1:], strict=True))
    return height / width
