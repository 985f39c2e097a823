"""A sliding window over a volume of any length, in memory that does not depend on that length.

MONAI's `sliding_window_inference` adds up floats for all classes of the whole volume. Here windows come in order along
the slices, and slices that no later window touches are handed on and forgotten: floats are held for as many slices as a
window is deep.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from kidney_lab.geometry import Triple
from kidney_lab.methods.windows import rows_of_batches

SLAB = 8
"""Most slices that are handed on at a time."""

Scores = tuple[Tensor, Tensor]
"""Weighted means `(K, slices, H, W)`, float32, and where any window was, bool `(slices, H, W)`; 0 elsewhere.

The means lie in the memory of the sums: they are good until the next slab is asked for.
"""


def slide(
    look: Callable[[Sequence[Triple]], Tensor],
    corners: Sequence[Triple],
    *,
    shape: Triple,
    weight: Tensor,
    channels: int,
    batch_size: int,
) -> Iterator[Scores]:
    """Weighted means of what is said in windows.

    Args:
        look: scores `(B, K, *window)`, float32, of windows with these first voxels.
        corners: of all windows, sorted along the slices; there may be none.
        shape: of the volume, `(D, H, W)`.
        weight: of every voxel of a window, above 0, `(d, h, w)`; on the device that windows are added up on.
        channels: K.
        batch_size: most windows that are looked at together.

    Yields:
        Slabs of the volume, which together are all of its slices, from the first to the last.
    """
    total = RollingSum(channels, weight.shape[0], shape[1:], weight.device)
    for first, batches in rows_of_batches(corners, batch_size):
        yield from total.finish(first)
        for batch in batches:
            for corner, scores in zip(batch, look(batch), strict=True):
                total.add(corner, scores.to(weight.device), weight)
    yield from total.finish(shape[0])


class RollingSum:
    """Weighted sums of windows in a ring of slices.

    Args:
        channels: K.
        depth: slices of a window, which are all that is held.
        plane: `(H, W)` of the volume.
        device: to add up on.
    """

    def __init__(self, channels: int, depth: int, plane: Sequence[int], device: torch.device) -> None:
        self.depth = depth
        self.sums = torch.zeros((channels, depth, *plane), device=device)
        self.weights = torch.zeros((depth, *plane), device=device)
        self.first = 0  # slice of the volume that is not finished yet

    def add(self, corner: Triple, scores: Tensor, weight: Tensor) -> None:
        """Adds a window whose first slice is not finished yet.

        Args:
            corner: its first voxel.
            scores: `(K, *window)`.
            weight: of its voxels, `(d, h, w)`.
        """
        h, w = (slice(c, c + n) for c, n in zip(corner[1:], weight.shape[1:], strict=True))
        at = corner[0] % self.depth
        for ring, own in ((slice(at, None), slice(self.depth - at)), (slice(at), slice(self.depth - at, None))):
            self.sums[:, ring, h, w].addcmul_(scores[:, own], weight[own])
            self.weights[ring, h, w] += weight[own]

    def finish(self, end: int) -> Iterator[Scores]:
        """Hands on the slices before `end`, which no later window may touch, and makes room for others."""
        while self.first < end:
            at = self.first % self.depth
            n = min(SLAB, end - self.first, self.depth - at)
            sums, weights = self.sums[:, at : at + n], self.weights[at : at + n]
            yield sums.div_(weights.clamp(min=torch.finfo(weights.dtype).tiny)), weights > 0
            sums.zero_()
            weights.zero_()
            self.first += n
