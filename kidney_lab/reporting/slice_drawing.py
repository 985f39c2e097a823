"""How pictures draw a slice of a scan: its grey values, and regions on it as fills and as outlines."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patheffects import AbstractPathEffect
from numpy.typing import NDArray

WINDOW_HU: Final = (400.0, 40.0)
"""Width and level of the soft-tissue window."""

BLACK_HU, WHITE_HU = (WINDOW_HU[1] + side * WINDOW_HU[0] / 2 for side in (-1, 1))
"""Its ends."""

WINDOW_WORDS: Final = f"Soft-tissue window, {WINDOW_HU[0]:.0f} HU wide at {WINDOW_HU[1]:.0f} HU."


def draw_image(axes: Axes, image: NDArray[Any]) -> None:
    """Shows the grey values `(H, W)` of a slice in HU, in the soft-tissue window."""
    axes.imshow(image, cmap="gray", vmin=BLACK_HU, vmax=WHITE_HU, interpolation="nearest")


def fill_region(axes: Axes, mask: NDArray[np.bool_], color: str, *, alpha: float) -> None:
    """Tints the voxels of a mask `(H, W)`; nothing where it is empty."""
    if mask.any():
        fill = np.ma.masked_where(~mask, mask)
        axes.imshow(fill, cmap=ListedColormap([color]), alpha=alpha, interpolation="nearest")


def outline_region(
    axes: Axes, mask: NDArray[np.bool_], color: str, width: float, *, edge: Sequence[AbstractPathEffect] = ()
) -> None:
    """Draws a line around the voxels of a mask; nothing where it is empty.

    Args:
        axes: of the slice.
        mask: `(H, W)`.
        color: of the line.
        width: of the line, in points.
        edge: effects that set the line off what lies below it.
    """
    if mask.any():
        padded = np.pad(mask.astype(float), 1)  # so that an outline closes at the edge of the picture
        rows, columns = (np.arange(size) - 1 for size in padded.shape)
        line = axes.contour(columns, rows, padded, levels=[0.5], colors=[color], linewidths=width)
        line.set_path_effects(list(edge))


def frame_slice(axes: Axes, shape: Sequence[int], pixel_mm: Sequence[float]) -> None:
    """Limits a drawing to the slice, in the patient's proportions and without axes.

    Args:
        axes: of the slice, with all that is drawn on it.
        shape: of the slice, (H, W).
        pixel_mm: height and width of a pixel.
    """
    axes.set_axis_off()
    axes.set_aspect(pixel_mm[0] / pixel_mm[1])
    axes.set_xlim(-0.5, shape[1] - 0.5)
    axes.set_ylim(shape[0] - 0.5, -0.5)
