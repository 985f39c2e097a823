"""From a stage's grid back to the scan's own grid, slab by slab."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from kidney_lab.data.prepare import PreparedImage

SLAB = 16  # slices held as float probabilities at a time


def restore_labels(
    probabilities: Tensor, prepared: PreparedImage, decide: Callable[[Tensor], Tensor]
) -> NDArray[np.uint8]:
    """Label map on the grid that the image came on.

    Probabilities are interpolated linearly and decided on there, which keeps borders smoother than interpolating
    labels; never more than a slab of slices is held at full resolution.

    Args:
        probabilities: `(C, d, h, w)` on the prepared grid.
        prepared: what `prepare_image` returned for this image.
        decide: `(C, ...)` probabilities to `(...)` labels.

    Returns:
        uint8 `(D, H, W)` on `prepared.source`; background outside the body.
    """
    result = np.zeros(prepared.source.shape, dtype=np.uint8)
    inside = result[prepared.crop]
    depth, height, width = inside.shape
    for start, slab in _slabs(probabilities, depth):
        if slab.shape[-2:] != (height, width):
            slab = F.interpolate(slab, size=(height, width), mode="bilinear", align_corners=False)
        inside[start : start + len(slab)] = decide(slab.transpose(0, 1)).cpu().numpy()
    return result


def _slabs(probabilities: Tensor, depth: int) -> Iterator[tuple[int, Tensor]]:
    """Slices of the target's depth, interpolated along D only: first index and `(slices, C, h, w)`."""
    n = probabilities.shape[1]
    # The half-pixel convention of `prepare_image`: voxel centres at (i + 1/2) / depth of the extent.
    position = ((torch.arange(depth, dtype=torch.float64) + 0.5) * n / depth - 0.5).clamp(0, n - 1)
    lower = position.floor().long().clamp(max=max(n - 2, 0))
    weight = (position - lower).to(probabilities)
    upper = (lower + 1).clamp(max=n - 1)
    for start in range(0, depth, SLAB):
        part = slice(start, min(start + SLAB, depth))
        w = weight[part].view(1, -1, 1, 1)
        slab = probabilities[:, lower[part]] * (1 - w) + probabilities[:, upper[part]] * w
        yield start, slab.transpose(0, 1)
