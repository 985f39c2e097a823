"""Reading a deformed patch out of an image and out of a label map."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from kidney_lab.errors import InputError

Mode = Literal["bilinear", "linear", "nearest"]
"""How values are interpolated: `bilinear` images; labels `linear` (every class, then the largest) or `nearest`."""


def fit(tensor: Tensor, shape: Sequence[int], mode: Mode) -> Tensor:
    """Crops or pads around the centre: images with their border, labels with 0.

    Args:
        tensor: `(C, *spatial)`.
        shape: wanted spatial shape.
        mode: `bilinear` marks an image.

    Returns:
        `(C, *shape)`; a view where nothing is padded.
    """
    starts = [(have - want) // 2 for have, want in zip(tensor.shape[1:], shape, strict=True)]
    kept = [
        slice(max(a, 0), max(a, 0) + min(have, n)) for a, have, n in zip(starts, tensor.shape[1:], shape, strict=True)
    ]
    tensor = tensor[(slice(None), *kept)]
    if tuple(tensor.shape[1:]) == tuple(shape):
        return tensor
    pad = [p for a, n, have in zip(starts, shape, tensor.shape[1:], strict=True) for p in (max(-a, 0), n - have)]
    before, total = pad[::2], pad[1::2]
    sides = [side for low, both in zip(reversed(before), reversed(total), strict=True) for side in (low, both - low)]
    return F.pad(tensor[None], sides, mode="replicate" if mode == "bilinear" else "constant")[0]


def sample_image(image: Tensor, grid: Tensor) -> Tensor:
    """Interpolates linearly.

    Args:
        image: `(C, *source)` float32 that holds everything the grid reads; beyond it lies 0.
        grid: of `sampling_grid`, `(*shape, n)`.

    Returns:
        `(C, *shape)` float32.
    """
    return F.grid_sample(image[None], grid[None], mode="bilinear", padding_mode="zeros", align_corners=False)[0]


def sample_label(label: Tensor, grid: Tensor, mode: Literal["linear", "nearest"] = "linear") -> Tensor:
    """Interpolates a label map.

    Only what reads something of the foreground's box is interpolated, which is mostly a small part of the patch.

    Args:
        label: `(1, *source)` uint8; beyond it lies background.
        grid: of `sampling_grid`, `(*shape, n)`.
        mode: `linear` interpolates the map of every class present, background included, and takes the largest (the
            smallest label on ties); `nearest` takes the nearest voxel.

    Returns:
        `(1, *shape)` uint8.

    Raises:
        InputError: if there are several channels.
    """
    if len(label) != 1:
        raise InputError(
            f"augment: a label map of shape {tuple(label.shape)} has {len(label)} channels instead of one: give its "
            "key the mode bilinear."
        )
    result = label.new_zeros(1, *grid.shape[:-1])
    box = foreground_box(label[0])
    if box is None:
        return result
    inside = label[0][box]
    classes = (1 + inside.flatten().bincount()[1:].nonzero().flatten()).tolist()
    maps = torch.stack([(inside == index).float() for index in classes])
    places, points = _readers(grid, box, label.shape[1:])
    line = points.view(*[1] * len(box), -1, len(box))  # as a patch of one row
    kind = "nearest" if mode == "nearest" else "bilinear"
    shares = F.grid_sample(maps[None], line, mode=kind, padding_mode="zeros", align_corners=False)[0]
    result.view(-1).index_copy_(0, places, _largest(shares, classes).flatten())
    return result


def foreground_box(label: Tensor) -> tuple[slice, ...] | None:
    """Smallest box around the voxels over 0 of a label map `(*spatial)`; None where there are none."""
    if label.ndim == 1:
        occupied = label.nonzero()
        return (slice(int(occupied[0]), int(occupied[-1]) + 1),) if len(occupied) else None
    # The projection along the leading axis is the fast one; it gives the box that the leading axis is searched in.
    rest = foreground_box(label.amax(0))
    if rest is None:
        return None
    leading = foreground_box(label[(slice(None), *rest)].flatten(1).amax(1))
    return None if leading is None else (*leading, *rest)


def _readers(grid: Tensor, box: Sequence[slice], source: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Points of a grid that lie in a box of the source or less than a voxel beside it.

    Returns:
        Their flat indices, `(points,)`, and their coordinates in the box, `(points, n)`.
    """
    n = len(box)
    sizes = [part.stop - part.start for part in box]
    middles = [(part.start + part.stop) / size - 1 for part, size in zip(box, source, strict=True)]
    reading = torch.ones(grid.shape[:-1], dtype=torch.bool, device=grid.device)
    distance = grid.new_empty(grid.shape[:-1])
    for k in range(n):
        torch.sub(grid[..., n - 1 - k], middles[k], out=distance)
        reading &= distance.abs_() < (sizes[k] + 1) / source[k]
    places = reading.flatten().nonzero().flatten()
    zoom = grid.new_tensor([source[k] / sizes[k] for k in reversed(range(n))])
    return places, (grid.view(-1, n).index_select(0, places) - grid.new_tensor(middles[::-1])) * zoom


def _largest(shares: Tensor, classes: Sequence[int]) -> Tensor:
    """Label with the largest share; a running maximum, since torch's argmax over a leading axis is slow."""
    best = 1 - shares.sum(0)
    winner = torch.zeros(shares.shape[1:], dtype=torch.uint8, device=shares.device)
    for share, label in zip(shares, classes, strict=True):
        winner.masked_fill_(share > best, label)
        best = torch.maximum(best, share)
    return winner
