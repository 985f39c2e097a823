"""What a stage predicts of one volume: probabilities in a box of its grid, put together from one or more windows."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kidney_lab.data.body import Box
from kidney_lab.geometry import Triple


@dataclass(frozen=True, eq=False)
class Prediction:
    """Probabilities of a stage's channels in a box; outside of it lies background.

    Args:
        probabilities: `(K, *box)`, float32.
        box: of the grid.
        shape: of the grid, `(D, H, W)`.
    """

    probabilities: Tensor
    box: Box
    shape: Triple

    def labels(self, decide: Callable[[Tensor], Tensor]) -> Tensor:
        """Label map on the stage's own grid.

        Args:
            decide: `(K, ...)` probabilities to `(...)` labels.

        Returns:
            uint8 `(D, H, W)`, on the probabilities' device.
        """
        result = torch.zeros(self.shape, dtype=torch.uint8, device=self.probabilities.device)
        result[self.box] = decide(self.probabilities)
        return result


def assemble(
    boxes: Sequence[Box], parts: Iterable[Tensor], shape: Triple, *, channels: int, device: torch.device
) -> Prediction:
    """Puts together what was predicted part by part; where parts overlap, each channel keeps its larger probability.

    Args:
        boxes: of the grid, inside it; there may be none.
        parts: probabilities `(K, *box)` of each box, in order; one at a time is held.
        shape: of the grid, `(D, H, W)`.
        channels: K.
        device: of the parts.

    Returns:
        The prediction in the smallest box of the grid that holds them all; an empty one without any box.
    """
    hull = _hull(boxes)
    if len(boxes) == 1:
        return Prediction(next(iter(parts)), hull, shape)
    result = torch.zeros((channels, *(axis.stop - axis.start for axis in hull)), device=device)
    for box, part in zip(boxes, parts, strict=True):
        here = result[(slice(None), *_relative(box, hull))]
        torch.maximum(here, part, out=here)
    return Prediction(result, hull, shape)


def _hull(boxes: Sequence[Box]) -> Box:
    if not boxes:
        return slice(0, 0), slice(0, 0), slice(0, 0)
    d, h, w = (slice(min(a.start for a in axes), max(a.stop for a in axes)) for axes in zip(*boxes, strict=True))
    return d, h, w


def _relative(box: Box, to: Box) -> Box:
    d, h, w = (slice(a.start - b.start, a.stop - b.start) for a, b in zip(box, to, strict=True))
    return d, h, w
