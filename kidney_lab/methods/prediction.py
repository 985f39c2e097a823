"""What a stage predicts of one volume: probabilities in a box of its grid, computed in one or more windows of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from kidney_lab.data.body import Box
from kidney_lab.geometry import Triple

Infer = Callable[[Tensor], Tensor]


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
    image: Tensor, boxes: Sequence[Box], infer: Infer, *, smallest: Sequence[int], fill: Sequence[float]
) -> Prediction:
    """Predicts boxes of a volume; where they overlap, each channel keeps its larger probability.

    Args:
        image: `(C, D, H, W)`.
        boxes: parts of it; they may reach beyond it.
        infer: `(1, C, d, h, w)` to probabilities `(1, K, d, h, w)`.
        smallest: `(d, h, w)` voxels that a part must have; smaller ones are enlarged on both sides.
        fill: of every channel beyond the volume.

    Returns:
        The prediction in the smallest box of the volume that holds them all.

    Raises:
        ValueError: there is no box.
    """
    if not boxes:
        raise ValueError("there is no box to predict in")
    d, h, w = image.shape[1:]
    hull = _hull([_inside(box, (d, h, w)) for box in boxes])
    result = image.new_empty(0)
    for number, box in enumerate(boxes):
        outer, inner = _enlarged(box, smallest), _inside(box, (d, h, w))
        probabilities = infer(_read(image, outer, fill)[None])[0]
        probabilities = probabilities[(slice(None), *_relative(inner, outer))]
        if len(boxes) == 1:
            return Prediction(probabilities, hull, (d, h, w))
        if number == 0:
            result = probabilities.new_zeros((len(probabilities), *(axis.stop - axis.start for axis in hull)))
        part = result[(slice(None), *_relative(inner, hull))]
        torch.maximum(part, probabilities, out=part)
    return Prediction(result, hull, (d, h, w))


def whole(shape: Sequence[int]) -> Box:
    """The box of a whole volume."""
    d, h, w = (slice(0, n) for n in shape)
    return d, h, w


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


def _read(image: Tensor, box: Box, fill: Sequence[float]) -> Tensor:
    """A box of a volume that may reach beyond it; a view where it does not."""
    shape = image.shape[1:]
    inner = _inside(box, shape)
    read = image[(slice(None), *inner)]
    pads = [(i.start - o.start, o.stop - i.stop) for i, o in zip(inner, box, strict=True)]
    if not any(map(any, pads)):
        return read
    flat = [n for pair in reversed(pads) for n in pair]
    return torch.cat([F.pad(channel[None], flat, value=value) for channel, value in zip(read, fill, strict=True)])
