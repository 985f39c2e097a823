"""Which renal tissue is the patient's left kidney and which the right, and to which of them a lesion belongs.

Labels know no sides, but their grid knows the patient's (RAS+: the first world coordinate grows to the right). Renal
tissue that is wider than `TWO_KIDNEYS_MM` from left to right is that of two kidneys, and so is what is wider than
`ONE_KIDNEY_MM` and leaves a gap. They are parted in the middle third of the width, where there is least of it: between
them, or at the isthmus of a horseshoe kidney. A single kidney is a left or a right one by the side of the scan's middle
that it lies on.

Both limits come from references of KiTS19 and KiTS23: two kidneys are 136 to 286 mm wide (128 cases, one horseshoe);
one is mostly below 120 mm, and up to 144 mm where a large tumor has stretched it, which leaves no gap. So all 109 cases
that were tried are parted in two, and either kidney of them, when the other is taken away, is one on its own side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from kidney_lab.geometry import Grid, Volume
from kidney_lab.labels import KIDNEY
from kidney_lab.metrics.surface import common_box

Side = Literal["left", "right"]

SIDES: Final[tuple[Side, Side]] = ("left", "right")
ONE_KIDNEY_MM: Final = 120.0
"""Renal tissue narrower than this, from left to right, is one kidney."""
TWO_KIDNEYS_MM: Final = 150.0
"""Renal tissue wider than this is two kidneys."""
NEAR_MM: Final = 20.0
"""A lesion further than this from all renal tissue has replaced its kidney, and lies where that lay."""

Points = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sides:
    """The two sides of a patient.

    Args:
        middle_mm: first world coordinate that parts them; the right side lies above it.
        renal: `(N, 3)` world coordinates of the voxels of renal tissue, mm, for each side.
    """

    middle_mm: float
    renal: Mapping[Side, Points]

    def of(self, lesion: Points) -> Side:
        """Side of the kidney that a lesion touches, or is nearest to.

        Args:
            lesion: `(N, 3)` world coordinates of its voxels, mm; at least one.

        Returns:
            The side; where no renal tissue is within `NEAR_MM`, that of the patient's middle on which the lesion lies.
        """
        tree, is_right = self._tissue
        distance, nearest = map(np.asarray, tree.query(lesion, distance_upper_bound=NEAR_MM))
        if not np.isfinite(distance).any():
            return "right" if lesion[:, 0].mean() > self.middle_mm else "left"
        touching = distance == distance.min()
        return "right" if is_right[nearest[touching]].mean() > 0.5 else "left"

    @cached_property
    def _tissue(self) -> tuple[KDTree, NDArray[np.bool_]]:
        """All renal voxels, and which of them are those of the right kidney."""
        points = np.concatenate([self.renal[side] for side in SIDES])
        is_right = np.arange(len(points)) >= len(self.renal["left"])
        return KDTree(points, compact_nodes=False, balanced_tree=False), is_right


def find_sides(labels: Volume) -> Sides:
    """Tells the left from the right kidney.

    Args:
        labels: `(D, H, W)` label values, in any orientation.

    Returns:
        The sides; without any renal tissue, of the scan's middle.
    """
    mask = labels.array == KIDNEY
    box = common_box(mask)
    renal = world_points(mask[box], labels.grid, [axis.start for axis in box])
    scan = labels.grid.affine @ [*((np.array(labels.grid.shape) - 1) / 2), 1.0]
    middle, across = float(scan[0]), renal[:, 0]
    if not len(renal):
        return Sides(middle, dict.fromkeys(SIDES, renal))
    width = float(np.ptp(across))
    if width > ONE_KIDNEY_MM:
        thinnest, amount = thinnest_place(across, voxel_mm=float(np.abs(labels.grid.affine[0, :3]).max()))
        if width > TWO_KIDNEYS_MM or amount == 0:
            return Sides(thinnest, {"left": renal[across <= thinnest], "right": renal[across > thinnest]})
    side: Side = "right" if across.mean() > middle else "left"
    return Sides(middle, {name: renal if name == side else renal[:0] for name in SIDES})


def thinnest_place(across: Points, *, voxel_mm: float) -> tuple[float, int]:
    """Where in the middle third of its width there is least of something; of equal places the one nearest the middle.

    Args:
        across: `(N,)` coordinates of its voxels from side to side, mm.
        voxel_mm: distance between neighbouring voxels in that direction.

    Returns:
        The place in mm, and how many voxels are there.
    """
    low, high = across.min(), across.max()
    third = (high - low) / 3
    bins = max(1, int(third / max(2.0, 2 * voxel_mm)))  # wider than voxels, so that none falls between them
    counts, edges = np.histogram(across, bins=bins, range=(low + third, high - third))
    centers = (edges[:-1] + edges[1:]) / 2
    amount, _, place = min(zip(counts, abs(centers - (low + high) / 2), centers, strict=True))
    return float(place), int(amount)


def world_points(mask: NDArray[np.bool_], grid: Grid, corner: Sequence[int] = (0, 0, 0)) -> Points:
    """World coordinates of the voxels of a mask.

    Args:
        mask: `(d, h, w)`.
        grid: that it is cut out of.
        corner: voxel of the grid where the mask begins.

    Returns:
        `(N, 3)`: to the right, to the front and up (RAS+), mm.
    """
    return (np.argwhere(mask) + corner) @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Voxels of a mask `(D, H, W)` with a face to its outside."""
    return mask & ~ndimage.binary_erosion(mask)
