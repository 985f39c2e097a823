"""What happens to axial slices between the store and a 2D network: denoising and resizing, as pure functions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional as F

from kidney_lab.data.views.boxes import AIR_HU, read_box


def median_filter(planes: NDArray[np.int16]) -> NDArray[np.int16]:
    """Median over 3 x 3 pixels of every slice `(N, H, W)`."""
    filtered: NDArray[np.int16] = ndimage.median_filter(planes, size=(1, 3, 3), mode="nearest")
    return filtered


def neighbours_of(index: int, neighbours: int, depth: int) -> tuple[int, int, NDArray[np.integer]]:
    """Which slices a sample of one slice and its neighbours is made of.

    Args:
        index: of the slice.
        neighbours: on either side; beyond the ends the last slice is repeated.
        depth: slices of the volume.

    Returns:
        The first slice to read, the number to read, and the index of each channel among these.
    """
    picks = np.clip(np.arange(index - neighbours, index + neighbours + 1), 0, depth - 1)
    return int(picks[0]), int(picks[-1] + 1 - picks[0]), picks - picks[0]


def resize_planes(planes: NDArray[np.int16], size: Sequence[int]) -> NDArray[np.int16]:
    """Resizes whole slices by area, without changing their proportions.

    Args:
        planes: `(N, H, W)`, HU.
        size: `(h, w)` wanted; slices of other proportions are padded with air first, evenly on both sides.

    Returns:
        `(N, h, w)`, rounded to whole HU.
    """
    padded = torch.from_numpy(_pad_to_aspect(planes, size, AIR_HU)).float()
    resized: NDArray[np.int16] = F.interpolate(padded[None], size=tuple(size), mode="area")[0].round().short().numpy()
    return resized


def resize_label(label: NDArray[np.uint8], size: Sequence[int]) -> NDArray[np.uint8]:
    """Resizes label slices as `resize_planes` does images: every pixel gets the label that covers most of it.

    Args:
        label: `(N, H, W)`.
        size: `(h, w)`.

    Returns:
        `(N, h, w)`; where labels cover a pixel equally, the lower one wins.
    """
    padded = torch.from_numpy(_pad_to_aspect(label, size, 0))
    present = torch.unique(padded)
    shares = F.interpolate((padded[None] == present[:, None, None, None]).float(), size=tuple(size), mode="area")
    resized: NDArray[np.uint8] = present[shares.argmax(dim=0)].numpy()
    return resized


def padding_to_aspect(shape: Sequence[int], size: Sequence[int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Where a slice lies on the smallest canvas that holds it and has the proportions of another size.

    Args:
        shape: `(H, W)` of the slice.
        size: `(h, w)` whose proportions are wanted, to the nearest pixel.

    Returns:
        First pixel of the canvas as seen from the slice (0 or negative), and the canvas' shape.

    >>> padding_to_aspect((300, 400), (128, 128))
    ((-50, 0), (400, 400))
    """
    scale = max(n / m for n, m in zip(shape, size, strict=True))
    height, width = (max(n, round(m * scale)) for n, m in zip(shape, size, strict=True))
    return (-((height - shape[0]) // 2), -((width - shape[1]) // 2)), (height, width)


def _pad_to_aspect(planes: NDArray[Any], size: Sequence[int], fill: int) -> NDArray[Any]:
    corner, canvas = padding_to_aspect(planes.shape[1:], size)
    return read_box(planes, (0, *corner), (len(planes), *canvas), fill)
