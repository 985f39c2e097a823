"""Where a sliding window stands on a volume, and what each place of it counts.

Places and weights are those of MONAI's `sliding_window_inference`, in the same order: along the slices first, so that
whoever adds up windows is done with the slices before the next one.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
from monai.data.utils import dense_patch_slices
from monai.inferers import SlidingWindowInferer
from monai.utils import ensure_tuple_rep, fall_back_tuple
from numpy.typing import NDArray

from kidney_lab.geometry import Triple

AIR_BELOW_HU = -500
"""A window without any voxel above it shows no body: halfway between air and water, as where the body is looked for."""


def window_size(inferer: SlidingWindowInferer, shape: Sequence[int]) -> Triple:
    """The inferer's window in a volume that is no smaller, `(D, H, W)` voxels.

    Args:
        inferer: whose `roi_size` is a number, or one for every axis; None or less than 1: the whole axis.
        shape: of the volume, `(D, H, W)`.
    """
    d, h, w = fall_back_tuple(inferer.roi_size, shape)
    return d, h, w


def window_corners(shape: Sequence[int], roi_size: Sequence[int], overlap: Sequence[float] | float) -> list[Triple]:
    """First voxels of all windows that cover a volume, sorted along the slices.

    Args:
        shape: of the volume, `(D, H, W)`; no smaller than a window.
        roi_size: of a window, `(D, H, W)`.
        overlap: of neighbouring windows along each axis, 0 to below 1.

    Returns:
        `(d, h, w)` each; the last window along an axis is moved back into the volume.
    """
    intervals = [
        n if n == m else max(1, int(n * (1 - share)))
        for n, m, share in zip(roi_size, shape, ensure_tuple_rep(overlap, len(shape)), strict=True)
    ]
    places = dense_patch_slices(shape, roi_size, intervals)
    return [(int(d.start), int(h.start), int(w.start)) for d, h, w in places]


def shows_body(image_hu: NDArray[np.int16], corner: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether a window that may reach beyond the volume holds anything but air.

    Args:
        image_hu: the volume, `(D, H, W)`.
        corner: first voxel of the window.
        shape: of the window.
    """
    inside = tuple(slice(max(c, 0), max(c + n, 0)) for c, n in zip(corner, shape, strict=True))
    seen = image_hu[inside]
    return bool(seen.size) and int(seen.max()) > AIR_BELOW_HU


def rows_of_batches(corners: Sequence[Triple], batch_size: int) -> Iterator[tuple[int, list[list[Triple]]]]:
    """Windows in batches, none of which holds windows of different first slices.

    Args:
        corners: sorted along the slices.
        batch_size: most windows of a batch.

    Yields:
        The first slice, and the batches of windows that begin there.
    """
    for first, group in groupby(corners, key=lambda corner: corner[0]):
        row = list(group)
        yield first, [row[k : k + batch_size] for k in range(0, len(row), batch_size)]
