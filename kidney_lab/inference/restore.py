"""From a stage's grid to another grid of the same extent, slab by slab."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from kidney_lab.geometry import Triple
from kidney_lab.methods.prediction import Prediction, RollingSlices

SLAB = 16  # slices held as float probabilities at a time


def slabs_of(slices: slice) -> Iterator[slice]:
    """Cuts a range of slices into slabs."""
    for start in range(slices.start, slices.stop, SLAB):
        yield slice(start, min(start + SLAB, slices.stop))


def resample_labels(prediction: Prediction, shape: Triple, decide: Callable[[Tensor], Tensor]) -> NDArray[np.uint8]:
    """Label map on another grid of the same extent.

    Probabilities are interpolated linearly and decided on there, which keeps borders smoother than interpolating
    labels; never more than a slab of slices is held at full resolution.

    Args:
        prediction: on its own grid.
        shape: of the other grid, `(D, H, W)`.
        decide: `(C, ...)` probabilities to `(...)` labels; where all are 0, background.

    Returns:
        uint8 of that shape.
    """
    result, slices = np.zeros(shape, dtype=np.uint8), RollingSlices(prediction)
    for part in slabs_of(reached_slices(prediction, shape[0])):
        result[part] = decide(resample_slices(slices, shape, part)).cpu().numpy()
    return result


def reached_slices(prediction: Prediction, depth: int) -> slice:
    """Slices of the other grid, of which there are `depth`, that the prediction's box reaches; there may be none."""
    lower, upper, _ = _neighbours(prediction.shape[0], slice(0, depth), depth)
    top = prediction.box[0]
    reached = ((upper >= top.start) & (lower < top.stop)).nonzero().flatten().tolist()
    return slice(reached[0], reached[-1] + 1) if reached else slice(0, 0)


def resample_slices(slices: RollingSlices, shape: Triple, part: slice) -> Tensor:
    """Probabilities on slices of another grid of the same extent, interpolated linearly.

    Args:
        slices: of a prediction on its own grid; reading them in rising order computes each of them once.
        shape: of the other grid, `(D, H, W)`.
        part: of its slices; what lies beside the prediction's box is 0.

    Returns:
        `(C, slices, H, W)`, on the prediction's device.
    """
    (top, rows, columns), (n, height, width) = slices.prediction.box, slices.prediction.shape
    beside = [columns.start, width - columns.stop, rows.start, height - rows.stop]
    lower, upper, weight = _neighbours(n, part, shape[0])
    slab = _interpolated(slices, lower - top.start, upper - top.start, weight, depth=top.stop - top.start)
    slab = slab.transpose(0, 1)
    slab = F.pad(slab, beside) if any(beside) else slab
    if slab.shape[-2:] != shape[1:]:
        slab = F.interpolate(slab, size=shape[1:], mode="bilinear", align_corners=False)
    return slab.transpose(0, 1)


def _neighbours(n: int, part: slice, depth: int) -> tuple[Tensor, Tensor, Tensor]:
    """The two of `n` slices that each slice in a part of `depth` lies between, and the weight of the second."""
    # The half-pixel convention of `prepare_image`: voxel centres at (i + 1/2) / depth of the extent.
    place = torch.arange(part.start, part.stop, dtype=torch.float64)
    position = ((place + 0.5) * n / depth - 0.5).clamp(0, n - 1)
    lower = position.floor().long().clamp(max=max(n - 2, 0))
    return lower, (lower + 1).clamp(max=n - 1), position - lower


def _interpolated(slices: RollingSlices, lower: Tensor, upper: Tensor, weight: Tensor, *, depth: int) -> Tensor:
    """Slices between the two nearest of a box of `depth` slices, `(C, slices, h, w)`; beyond the box lies 0."""
    first = int(lower.min().clamp(0, depth)) if len(lower) else 0
    read = slices(first, int((upper.max() + 1).clamp(first, depth)) if len(upper) else first)
    w = weight.to(read).view(1, -1, 1, 1)
    return _take(read, lower - first) * (1 - w) + _take(read, upper - first) * w


def _take(slices: Tensor, index: Tensor) -> Tensor:
    """Of `(C, n, h, w)` those slices; 0 where an index lies beyond."""
    if not slices.shape[1]:
        return slices.new_zeros((len(slices), len(index), *slices.shape[2:]))
    inside = ((index >= 0) & (index < slices.shape[1])).to(slices.device)
    taken = slices[:, index.clamp(0, slices.shape[1] - 1)]
    return taken if bool(inside.all()) else taken * inside.to(taken).view(1, -1, 1, 1)
