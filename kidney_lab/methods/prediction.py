"""What a stage predicts of one volume: probabilities in a box of its grid, slab after slab of slices.

Floats of a whole volume are what other tools run out of memory by. A prediction is therefore a pass over the slices: it
is computed while somebody goes through it, and what has been gone through is forgotten.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

from kidney_lab.data.body import Box
from kidney_lab.geometry import Triple

_EMPTY = 16  # most slices in which there is no part that are given at a time

Part = tuple[Box, Tensor]
"""A box of the grid, and probabilities `(K, *box)`."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """Probabilities of a stage's channels in a box; outside of it lies background.

    Args:
        slabs: begins a pass: gives `(K, slices, h, w)`, float32, of the box's slices in order. Every pass computes
            everything anew, unless the prediction is `kept`.
        box: of the grid.
        shape: of the grid, `(D, H, W)`.
        channels: K.
        device: of the probabilities.
    """

    slabs: Callable[[], Iterator[Tensor]]
    box: Box
    shape: Triple
    channels: int
    device: torch.device

    @classmethod
    def held(cls, probabilities: Tensor, box: Box, shape: Triple) -> "Prediction":
        """The prediction of probabilities `(K, *box)` that are known."""
        return cls(lambda: iter([probabilities]), box, shape, len(probabilities), probabilities.device)

    @property
    def probabilities(self) -> Tensor:
        """All of them at once, `(K, *box)`: as much memory as the box is large."""
        first = self.box[0].start
        whole = torch.zeros((self.channels, *(axis.stop - axis.start for axis in self.box)), device=self.device)
        for slices, slab in self._placed():
            whole[:, slices.start - first : slices.stop - first] = slab
        return whole

    def kept(self) -> "Prediction":
        """The same, computed in the first pass and held for later ones: for whoever asks more than once."""
        probabilities = cache(lambda: self.probabilities)
        return replace(self, slabs=lambda: iter([probabilities()]))

    def labels(self, decide: Callable[[Tensor], Tensor]) -> Tensor:
        """Label map on the stage's own grid, decided on slab by slab.

        Args:
            decide: `(K, ...)` probabilities to `(...)` labels.

        Returns:
            uint8 `(D, H, W)`, on the probabilities' device.
        """
        result = torch.zeros(self.shape, dtype=torch.uint8, device=self.device)
        _, rows, columns = self.box
        for slices, slab in self._placed():
            result[slices, rows, columns] = decide(slab)
        return result

    def _placed(self) -> Iterator[tuple[slice, Tensor]]:
        """Slabs of one pass with the slices of the grid that they are."""
        start = self.box[0].start
        for slab in self.slabs():
            yield slice(start, start + slab.shape[1]), slab
            start += slab.shape[1]


class RollingSlices:
    """Slices of a prediction for a reader who goes from the first to the last.

    No more is held than the slabs that the last request reached into. Whoever goes back begins a new pass.

    Args:
        prediction: to read.
    """

    def __init__(self, prediction: Prediction) -> None:
        self.prediction = prediction
        self._begin()

    def __call__(self, start: int, stop: int) -> Tensor:
        """Probabilities `(K, stop - start, h, w)`; slices are counted from the first one of the prediction's box."""
        if start < self._first:
            self._begin()
        self._forget(start)
        while self._end < stop:
            slab = next(self._slabs)
            self._held.append(slab)
            self._end += slab.shape[1]
            self._forget(start)
        if not self._held:
            _, rows, columns = self.prediction.box
            plane = (rows.stop - rows.start, columns.stop - columns.start)
            return torch.zeros((self.prediction.channels, 0, *plane), device=self.prediction.device)
        held = self._held[0] if len(self._held) == 1 else torch.cat(self._held, dim=1)
        return held[:, start - self._first : stop - self._first]

    def _begin(self) -> None:
        self._slabs = self.prediction.slabs()
        self._held: list[Tensor] = []
        self._first = self._end = 0

    def _forget(self, start: int) -> None:
        """Lets go of slabs that end before a slice."""
        while self._held and self._first + self._held[0].shape[1] <= start:
            self._first += self._held.pop(0).shape[1]


def join(parts: Iterable[Part], hull: Box, *, channels: int, device: torch.device) -> Iterator[Tensor]:
    """Puts together what was predicted part by part; where parts overlap, each channel keeps its larger probability.

    Args:
        parts: inside the hull, sorted by their first slice.
        hull: box of the grid.
        channels: K.
        device: of the parts.

    Yields:
        Probabilities `(K, slices, h, w)` of the hull's slices in order, 0 where there is no part; no more is held than
        the slices of parts that overlap.
    """
    done, pending = hull[0].start, torch.zeros(_shape(channels, hull, 0), device=device)
    for box, part in parts:
        if box[0].start > done:  # no later part reaches these slices
            yield from _slices(pending, box[0].start - done)
            pending, done = pending[:, box[0].start - done :], box[0].start
        if not pending.shape[1] and box[1:] == hull[1:]:
            pending = part
            continue
        missing = box[0].stop - done - pending.shape[1]
        if missing > 0:
            pending = torch.cat([pending, torch.zeros(_shape(channels, hull, missing), device=device)], dim=1)
        here = pending[(slice(None), slice(0, box[0].stop - done), *_relative(box[1:], hull[1:]))]
        torch.maximum(here, part, out=here)
    yield from _slices(pending, hull[0].stop - done)


def hull_of_parts(boxes: Sequence[Box]) -> Box:
    """The smallest box that holds all of these; an empty one without any."""
    if not boxes:
        return slice(0, 0), slice(0, 0), slice(0, 0)
    d, h, w = (slice(min(a.start for a in axes), max(a.stop for a in axes)) for axes in zip(*boxes, strict=True))
    return d, h, w


def _slices(pending: Tensor, n: int) -> Iterator[Tensor]:
    """The first `n` slices of what is pending, and as many empty ones as it lacks."""
    if pending.shape[1]:
        yield pending[:, :n]
    for start in range(pending.shape[1], n, _EMPTY):
        yield pending.new_zeros((len(pending), min(_EMPTY, n - start), *pending.shape[2:]))


def _shape(channels: int, hull: Box, slices: int) -> tuple[int, int, int, int]:
    return channels, slices, hull[1].stop - hull[1].start, hull[2].stop - hull[2].start


def _relative(box: Sequence[slice], to: Sequence[slice]) -> tuple[slice, ...]:
    return tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(box, to, strict=True))
