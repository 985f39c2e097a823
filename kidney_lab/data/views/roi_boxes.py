"""Boxes of one fixed size about the foreground of a label map: where a later stage looks, and what it is trained on.

Hao (master's thesis, Melbourne 2024, section 3.4) crops every case to one box of a fixed size, and leaves open what
happens where a foreground does not fit into it. Chosen: a box for each kidney, and as many more as it takes to lose
nothing of a kidney that is larger than the box.
"""

from collections.abc import Sequence
from itertools import product
from typing import Final

import cc3d
import numpy as np
from numpy.typing import NDArray

from kidney_lab.data.body import Box
from kidney_lab.data.foreground import foreground_box
from kidney_lab.data.store import Sliceable
from kidney_lab.geometry import Triple

SMALLEST_SHARE: Final = 0.1
"""Of the largest component's voxels: what has less is no kidney, and gets no box of its own."""


def roi_boxes(labels: NDArray[np.uint8], size: Sequence[int]) -> list[Box]:
    """Finds the boxes that a later stage looks into.

    Where the whole foreground fits into a box, that is one box centred on it. Where it does not, components of a tenth
    of the largest one's voxels and more count (26-connected; usually the two kidneys): one box where they fit together,
    else one centred on each that no earlier box holds, the largest first. A component that is larger than a box is
    covered by several that overlap evenly; of these the ones that hold none of its voxels are left out.

    Args:
        labels: `(D, H, W)`; above 0 is foreground.
        size: `(D, H, W)` voxels of every box.

    Returns:
        Boxes that hold every voxel of the components that count, none for an empty map. They lie inside the volume
        along the axes where it is larger than the box, and reach beyond its borders along the others.
    """
    found = foreground_box(labels)
    return [] if found is None else [moved_into(box, labels.shape) for box in boxes_about(labels, found, size)]


def boxes_about(labels: Sliceable | NDArray[np.uint8], found: Box, size: Sequence[int]) -> list[Box]:
    """`roi_boxes` before they are moved into the volume, so that they can be moved by chance first.

    Args:
        labels: `(D, H, W)`; only read where the foreground does not fit into one box.
        found: smallest box that holds the foreground.
        size: `(D, H, W)` voxels of every box.
    """
    if _fits(found, size):
        return [centred(found, size)]
    components = cc3d.connected_components((labels[found] > 0).view(np.uint8), connectivity=26)
    places = _largest_first(components, found)
    together = _union(list(places.values()))
    if _fits(together, size):
        return [centred(together, size)]
    boxes: list[Box] = []
    for number, place in places.items():
        if not any(_holds(moved_into(box, labels.shape), place) for box in boxes):
            boxes += [
                tile
                for tile in _tiles(place, size)
                if np.any(components[_seen_from(found, moved_into(tile, labels.shape))] == number)
            ]
    return boxes


def centred(around: Box, size: Sequence[int]) -> Box:
    """Box of a size, `(D, H, W)` voxels, about the middle of another; half a voxel is rounded down."""
    return _box([(axis.start + axis.stop - n) // 2 for axis, n in zip(around, size, strict=True)], size)


def moved_inside(corner: Sequence[int], size: Sequence[int], box: Box) -> Triple:
    """The place inside a box that is nearest to a corner; what is larger than the box keeps covering it.

    Args:
        corner: first voxel, `(d, h, w)`.
        size: of what is moved.
        box: to lie in.

    Returns:
        The first voxel after the move.
    """
    ends = [sorted((axis.start, axis.stop - n)) for axis, n in zip(box, size, strict=True)]
    d, h, w = (min(max(c, low), high) for c, (low, high) in zip(corner, ends, strict=True))
    return d, h, w


def moved_into(box: Box, shape: Sequence[int]) -> Box:
    """The box of the same size in a volume that is nearest; what is larger than the volume keeps covering it.

    Args:
        box: of any place.
        shape: of the volume, `(D, H, W)`.
    """
    size = [axis.stop - axis.start for axis in box]
    volume = _box((0, 0, 0), shape)
    return _box(moved_inside([axis.start for axis in box], size, volume), size)


def moved(box: Box, by: Sequence[int]) -> Box:
    """A box moved by so many voxels along each axis."""
    d, h, w = (slice(axis.start + n, axis.stop + n) for axis, n in zip(box, by, strict=True))
    return d, h, w


def _largest_first(components: NDArray[np.unsignedinteger], within: Box) -> dict[int, Box]:
    """The components that count, by number: where each lies in the volume. Equal ones come in order of their place."""
    counted = cc3d.statistics(components)
    voxels = counted["voxel_counts"].astype(np.int64)[1:]
    origin = [axis.start for axis in within]
    places = {
        number: moved(counted["bounding_boxes"][number], origin)
        for number in (1 + np.flatnonzero(voxels >= SMALLEST_SHARE * voxels.max())).tolist()
    }
    return dict(sorted(places.items(), key=lambda item: (-voxels[item[0] - 1], _ends(item[1]))))


def _tiles(place: Box, size: Sequence[int]) -> list[Box]:
    """As few boxes as cover a place, side by side or evenly overlapping; centred along the axes where one does."""
    starts = []
    for axis, n in zip(place, size, strict=True):
        length = axis.stop - axis.start
        number = -(-length // n)
        if number == 1:
            starts.append([(axis.start + axis.stop - n) // 2])
        else:
            starts.append([axis.start + i * (length - n) // (number - 1) for i in range(number)])
    return [_box(corner, size) for corner in product(*starts)]


def _box(corner: Sequence[int], size: Sequence[int]) -> Box:
    d, h, w = (slice(int(c), int(c + n)) for c, n in zip(corner, size, strict=True))
    return d, h, w


def _ends(box: Box) -> list[tuple[int, int]]:
    return [(axis.start, axis.stop) for axis in box]


def _fits(box: Box, size: Sequence[int]) -> bool:
    return all(axis.stop - axis.start <= n for axis, n in zip(box, size, strict=True))


def _holds(outer: Box, inner: Box) -> bool:
    return all(a.start <= b.start and b.stop <= a.stop for a, b in zip(outer, inner, strict=True))


def _union(boxes: Sequence[Box]) -> Box:
    d, h, w = (slice(min(b.start for b in axis), max(b.stop for b in axis)) for axis in zip(*boxes, strict=True))
    return d, h, w


def _seen_from(origin: Box, box: Box) -> Box:
    """A box in the coordinates of another, without what lies before its first voxel."""
    d, h, w = (slice(max(0, b.start - o.start), max(0, b.stop - o.start)) for o, b in zip(origin, box, strict=True))
    return d, h, w
