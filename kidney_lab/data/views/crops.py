"""Crops of slices at another magnification, and the way back: linear resampling along each axis, as pure functions.

A pixel of a crop is a weighted mean of the pixels below it: linear interpolation where the crop magnifies, and a
triangle as wide as two of its own pixels where it reduces, so that nothing is skipped (as with `antialias=True` in
torch). Unlike there a crop may begin anywhere, and sees the slice beyond its own border.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kidney_lab.data.views.boxes import AIR_HU, read_box

Weights = NDArray[np.float32]


@dataclass(frozen=True)
class Magnified:
    """Where pixels of a crop lie along one axis of a slice.

    Args:
        start: edge of the first, in pixels of the slice (0: edge of the slice's first pixel).
        step: width of each, in pixels of the slice.
        length: number of them.
    """

    start: float
    step: float
    length: int

    @property
    def _centres(self) -> NDArray[np.float64]:
        """Of each pixel, as (fractional) indices of the slice's pixels."""
        return np.asarray(self.start + (np.arange(self.length) + 0.5) * self.step - 0.5, dtype=np.float64)

    @property
    def reach(self) -> tuple[int, int]:
        """Index of the first of the slice's pixels that have a weight, and their number."""
        support = max(self.step, 1.0)
        low = int(np.floor(self._centres[0] - support))
        return low, int(np.ceil(self._centres[-1] + support)) + 1 - low

    def weights(self, first: int, number: int) -> Weights:
        """Weights `(length, number)` of the slice's pixels from `first` on; every row sums to 1."""
        support = max(self.step, 1.0)
        distance = np.abs(self._centres[:, None] - np.arange(first, first + number))
        weights = np.maximum(0.0, 1.0 - distance / support)
        scaled: Weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
        return scaled


def crop_image(planes: Any, first: int, number: int, rows: Magnified, columns: Magnified) -> NDArray[np.int16]:
    """Crops slices; beyond them lies air.

    Args:
        planes: sliceable, `(N, H, W)`, HU; only what the crop needs is read.
        first: index of the first slice.
        number: of slices.
        rows: of the crop.
        columns: of the crop.

    Returns:
        `(number, rows.length, columns.length)`, rounded to whole HU.
    """
    region = _region(planes, first, number, rows, columns, AIR_HU).astype(np.float32)
    cropped: NDArray[np.int16] = np.rint(_resampled(region, rows, columns)).astype(np.int16)
    return cropped


def crop_label(label: Any, index: int, rows: Magnified, columns: Magnified) -> NDArray[np.uint8]:
    """Crops one slice of a label map `(N, H, W)` as `crop_image` does: a pixel gets the label of the largest weight.

    Returns:
        `(1, rows.length, columns.length)`; background beyond the slice; of equal labels the lower one.
    """
    region = _region(label, index, 1, rows, columns, 0)
    present = np.unique(region)
    shares = _resampled((region == present[:, None, None]).astype(np.float32), rows, columns)
    cropped: NDArray[np.uint8] = present[shares.argmax(axis=0)].astype(np.uint8)[None]
    return cropped


def resample_back(probabilities: Tensor, rows: Magnified, columns: Magnified) -> Tensor:
    """Linear interpolation of a crop's `(K, h, w)` at pixels that are given in its own; its border is continued.

    Args:
        probabilities: 0 to 1.
        rows: of the slice that are wanted, in pixels of the crop.
        columns: likewise.

    Returns:
        `(K, rows.length, columns.length)`, on the same device.
    """
    down, across = (
        torch.from_numpy(axis.weights(0, n)).to(probabilities)
        for axis, n in zip((rows, columns), probabilities.shape[1:], strict=True)
    )
    with torch.autocast(probabilities.device.type, enabled=False):  # else it would multiply in half precision
        return down @ probabilities @ across.T


def _region(array: Any, first: int, number: int, rows: Magnified, columns: Magnified, fill: int) -> NDArray[Any]:
    (top, height), (left, width) = rows.reach, columns.reach
    return read_box(array, (first, top, left), (number, height, width), fill)


def _resampled(region: NDArray[np.float32], rows: Magnified, columns: Magnified) -> NDArray[np.float32]:
    """The crop of what `_region` read."""
    return np.asarray(rows.weights(*rows.reach) @ region @ columns.weights(*columns.reach).T, dtype=np.float32)
