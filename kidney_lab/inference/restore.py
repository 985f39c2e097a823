"""From a stage's grid back to the scan's own grid, slab by slab."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from kidney_lab.data.prepare import PreparedImage
from kidney_lab.geometry import Triple
from kidney_lab.methods.prediction import Prediction

SLAB = 16  # slices held as float probabilities at a time


def restore_labels(
    prediction: Prediction, prepared: PreparedImage, decide: Callable[[Tensor], Tensor]
) -> NDArray[np.uint8]:
    """Label map on the grid that the image came on.

    Args:
        prediction: on the prepared grid.
        prepared: what `prepare_image` returned for this image.
        decide: `(C, ...)` probabilities to `(...)` labels.

    Returns:
        uint8 `(D, H, W)` on `prepared.source`; background outside the body.
    """
    result = np.zeros(prepared.source.shape, dtype=np.uint8)
    d, h, w = result[prepared.crop].shape
    result[prepared.crop] = resample_labels(prediction, (d, h, w), decide)
    return result


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
    result = np.zeros(shape, dtype=np.uint8)
    for start, slab in _slabs(prediction, shape[0]):
        if slab.shape[-2:] != shape[1:]:
            slab = F.interpolate(slab, size=shape[1:], mode="bilinear", align_corners=False)
        result[start : start + len(slab)] = decide(slab.transpose(0, 1)).cpu().numpy()
    return result


def _slabs(prediction: Prediction, depth: int) -> Iterator[tuple[int, Tensor]]:
    """Slices of the target's depth that the box reaches, interpolated along D only: first index, `(slices, C, h, w)`.

    Within these slices what lies beside the box is 0.
    """
    probabilities, n = prediction.probabilities, prediction.shape[0]
    top, rows, columns = prediction.box
    _, height, width = prediction.shape
    beside = [columns.start, width - columns.stop, rows.start, height - rows.stop]
    # The half-pixel convention of `prepare_image`: voxel centres at (i + 1/2) / depth of the extent.
    position = ((torch.arange(depth, dtype=torch.float64) + 0.5) * n / depth - 0.5).clamp(0, n - 1)
    lower = position.floor().long().clamp(max=max(n - 2, 0))
    weight = (position - lower).to(probabilities)
    upper = (lower + 1).clamp(max=n - 1)
    reached = ((upper >= top.start) & (lower < top.stop)).nonzero().flatten().tolist()
    first, stop = (reached[0], reached[-1] + 1) if reached else (0, 0)
    for start in range(first, stop, SLAB):
        part = slice(start, min(start + SLAB, stop))
        w = weight[part].view(1, -1, 1, 1)
        slab = _slices(probabilities, lower[part] - top.start) * (1 - w)
        slab += _slices(probabilities, upper[part] - top.start) * w
        yield start, F.pad(slab.transpose(0, 1), beside) if any(beside) else slab.transpose(0, 1)


def _slices(probabilities: Tensor, index: Tensor) -> Tensor:
    """Slices `(C, slices, h, w)` of the box; 0 where an index lies beyond it."""
    inside = (index >= 0) & (index < probabilities.shape[1])
    slices = probabilities[:, index.clamp(0, probabilities.shape[1] - 1)]
    return slices if bool(inside.all()) else slices * inside.to(slices).view(1, -1, 1, 1)
