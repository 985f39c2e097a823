"""Windows: the samples that a view cuts a whole scan into at inference, and where their prediction belongs.

A window is read by the very function that reads training samples, so that a network sees of a place the same numbers in
both.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kidney_lab.data.body import Box
from kidney_lab.geometry import Triple

Corner = tuple[int, ...]
"""Where a sample begins on the view's own grid, `(d, h, w)`; a view may append what else it must know to read it."""


class Pictured(Protocol):
    """What samples are read from: a case of the store, or a scan in memory."""

    @property
    def image(self) -> Any:
        """Sliceable, int16 `(D, H, W)`, HU."""
        ...

    @property
    def shape(self) -> Triple:
        """Shape of the volume, `(D, H, W)`."""
        ...


@dataclass(frozen=True, eq=False)
class Scan:
    """A scan in memory.

    Args:
        image: int16 `(D, H, W)`, HU.
    """

    image: NDArray[np.int16]

    @property
    def shape(self) -> Triple:
        """Shape of the volume, `(D, H, W)`."""
        d, h, w = self.image.shape
        return d, h, w


@dataclass(frozen=True)
class Window:
    """One sample of a whole scan.

    Args:
        corner: where it begins, for `View.read`.
        shape: of the sample, for `View.read`.
        box: of the scan's grid that the network's answer is about; within the volume.
    """

    corner: Corner
    shape: tuple[int, ...]
    box: Box


def whole(shape: Sequence[int]) -> Box:
    """The box of a whole volume."""
    d, h, w = (slice(0, n) for n in shape)
    return d, h, w


def window_of(box: Box, shape: Sequence[int], smallest: Sequence[int]) -> Window:
    """The 3D window of a box that may reach beyond the volume.

    Args:
        box: to look into.
        shape: of the volume.
        smallest: `(d, h, w)` voxels that a window must have; a smaller one is enlarged on both sides.

    Returns:
        The window; its answer is about the part of the box that lies in the volume.
    """
    short = [max(0, n - (axis.stop - axis.start)) for axis, n in zip(box, smallest, strict=True)]
    corner = tuple(axis.start - n // 2 for axis, n in zip(box, short, strict=True))
    size = tuple(axis.stop - axis.start + n for axis, n in zip(box, short, strict=True))
    d, h, w = (slice(max(axis.start, 0), min(axis.stop, n)) for axis, n in zip(box, shape, strict=True))
    return Window(corner, size, (d, h, w))


def crop_to_box(probabilities: Tensor, window: Window) -> Tensor:
    """The part of a 3D window's answer `(K, *shape)` that belongs to its box, `(K, *box)`."""
    inner = (slice(b.start - c, b.stop - c) for b, c in zip(window.box, window.corner, strict=True))
    return probabilities[(slice(None), *inner)]


def batches(windows: Sequence[Window], voxels: int) -> Iterator[list[Window]]:
    """Windows in order, as many together as have one shape and no more voxels than a limit; at least one.

    Args:
        windows: of a scan.
        voxels: limit, of one channel.
    """
    batch: list[Window] = []
    for window in windows:
        if batch and (window.shape != batch[0].shape or (len(batch) + 1) * prod(window.shape) > voxels):
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch
