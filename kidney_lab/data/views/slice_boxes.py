"""Square boxes about what is marked on an axial slice: the regions of interest of 2D networks.

Zheng et al., "Multi-scale adversarial learning and difficult supervision for kidney and kidney tumor segmentation
methods", BMVC 2022, section 2.1, crops the kidney and the mass that the coarse network finds, and leaves open how.
Chosen: a box for every connected component (or one about all of them), square, so that resizing keeps proportions, with
a margin of a quarter of its length; what is smaller than a kidney's or a mass' least section is taken for noise.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import cc3d
import numpy as np
from numpy.typing import NDArray

from kidney_lab.data.body import Box

Mode = Literal["component", "joint"]


class Square(NamedTuple):
    """A square of a slice, in its pixels.

    Args:
        h: first row, possibly negative.
        w: first column, possibly negative.
        side: rows, and columns.
    """

    h: int
    w: int
    side: int


def squares(
    mask: NDArray[np.bool_], *, mode: Mode = "component", margin: float, min_margin: int, min_pixels: int
) -> list[Square]:
    """Finds the squares about what is marked on a slice.

    Args:
        mask: `(H, W)`.
        mode: a square for every `component` (8-connected), or one about all of them (`joint`).
        margin: on every side, as a part of the longer side of what is marked.
        min_margin: least margin, pixels.
        min_pixels: components of fewer pixels are left out.

    Returns:
        Squares, possibly reaching beyond the slice and into each other, from the top row down; none for an empty mask.
    """
    components, n = cc3d.connected_components(mask.astype(np.uint8), connectivity=8, return_N=True)
    if n == 0:
        return []
    counted = cc3d.statistics(components)
    numbers = [number for number in range(1, n + 1) if counted["voxel_counts"][number] >= min_pixels]
    places = [_ends(counted["bounding_boxes"][number]) for number in numbers]
    if mode == "joint" and places:
        ends = np.array(places)
        places = [(*ends[:, :2].min(axis=0).tolist(), *ends[:, 2:].max(axis=0).tolist())]
    return [_about(place, margin, min_margin) for place in sorted(places)]


def whole_slice(shape: Sequence[int]) -> Square:
    """The smallest square about a slice `(H, W)`, centred on it."""
    side = max(shape)
    return Square((shape[0] - side) // 2, (shape[1] - side) // 2, side)


def jittered(square: Square, amount: float, rng: np.random.Generator) -> Square:
    """A square that is moved along both axes, and larger or smaller, by at most a part of its side each."""
    size, down, right = rng.uniform(-amount, amount, 3)
    side = max(1, round(square.side * (1 + size)))
    middle = [start + square.side / 2 + move * square.side for start, move in ((square.h, down), (square.w, right))]
    return Square(round(middle[0] - side / 2), round(middle[1] - side / 2), side)


def box_within(square: Square, index: int, shape: Sequence[int]) -> Box:
    """The part of a square on slice `index` that lies in the volume `(D, H, W)`; empty where none does."""
    ends = [
        slice(max(start, 0), max(min(start + square.side, n), max(start, 0)))
        for start, n in ((square.h, shape[1]), (square.w, shape[2]))
    ]
    return slice(index, index + 1), ends[0], ends[1]


def _ends(bounding_box: Any) -> tuple[int, int, int, int]:
    """First row and column, and those after the last, of cc3d's box of a slice."""
    rows, columns = bounding_box[:2]
    return int(rows.start), int(columns.start), int(rows.stop), int(columns.stop)


def _about(place: tuple[int, int, int, int], margin: float, min_margin: int) -> Square:
    top, left, bottom, right = place
    longest = max(bottom - top, right - left)
    side = longest + 2 * max(int(np.ceil(margin * longest)), min_margin)
    return Square((top + bottom - side) // 2, (left + right - side) // 2, side)
