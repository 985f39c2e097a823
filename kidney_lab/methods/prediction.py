"""What a stage predicts of one volume: probabilities in a box of its grid, computed in one or more windows of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

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


def predict_in_boxes(
    shape: Triple, boxes: Sequence[Box], infer: Callable[[Box], Tensor], *, smallest: Sequence[int]
) -> Prediction:
    """Predicts boxes of a volume; where they overlap, each channel keeps its larger probability.

    Args:
        shape: of the volume, `(D, H, W)`.
        boxes: parts of it; they may reach beyond it.
        infer: gives the probabilities `(K, d, h, w)` of a box, which may reach beyond the volume.
        smallest: `(d, h, w)` voxels that a part must have; smaller ones are enlarged on both sides.

    Returns:
        The prediction in the smallest box of the volume that holds them all.

    Raises:
        ValueError: there is no box.
    """
    if not boxes:
        raise ValueError("there is no box to predict in")
    hull = _hull([_inside(box, shape) for box in boxes])
    result: Tensor | None = None
    for box in boxes:
        outer, inner = _enlarged(box, smallest), _inside(box, shape)
        probabilities = infer(outer)[(slice(None), *_relative(inner, outer))]
        if len(boxes) == 1:
            return Prediction(probabilities, hull, shape)
        if result is None:
            result = probabilities.new_zeros(len(probabilities), *(axis.stop - axis.start for axis in hull))
        part = result[(slice(None), *_relative(inner, hull))]
        torch.maximum(part, probabilities, out=part)
    assert result is not None  # for the type checker: there is at least one box
    return Prediction(result, hull, shape)


def whole(shape: Sequence[int]) -> Box:
    """The box of a whole volume."""
    d, h, w = (slice(0, n) for n in shape)
    return d, h, w


def read_padded(volume: Tensor, box: Box, fill: float) -> Tensor:
    """A box of a volume that may reach beyond it; a view where it does not.

    Args:
        volume: `(C, D, H, W)`.
        box: of it.
        fill: what lies beyond the volume.

    Returns:
        `(C, *box)`.
    """
    inner = _inside(box, volume.shape[1:])
    read = volume[(slice(None), *inner)]
    pads = [(i.start - o.start, o.stop - i.stop) for i, o in zip(inner, box, strict=True)]
    return F.pad(read, [n for pair in reversed(pads) for n in pair], value=fill) if any(map(any, pads)) else read


def _inside(box: Box, shape: Sequence[int]) -> Box:
    """The part of a box that lies in the volume."""
    d, h, w = (slice(max(axis.start, 0), min(axis.stop, n)) for axis, n in zip(box, shape, strict=True))
    return d, h, w


def _enlarged(box: Box, smallest: Sequence[int]) -> Box:
    short = [max(0, n - (axis.stop - axis.start)) for axis, n in zip(box, smallest, strict=True)]
    d, h, w = (slice(axis.start - n // 2, axis.stop + n - n // 2) for axis, n in zip(box, short, strict=True))
    return d, h, w


def _hull(boxes: Sequence[Box]) -> Box:
    d, h, w = (slice(min(a.start for a in axes), max(a.stop for a in axes)) for axes in zip(*boxes, strict=True))
    return d, h, w


def _relative(box: Box, to: Box) -> Box:
    d, h, w = (slice(a.start - b.start, a.stop - b.start) for a, b in zip(box, to, strict=True))
    return d, h, w
