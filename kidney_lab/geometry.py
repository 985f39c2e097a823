"""Grids in space: shape, affine, spacing and orientation of a volume.

Vocabulary (used everywhere in this project):

* A volume is an array `(D, H, W)`: slices, rows, columns. Every triple (spacing, patch, shape) is in that order.
* In memory a volume lies in orientation **IPL**, nibabel's letters for the direction in which each axis grows: slices
  run from superior to **I**nferior, rows from anterior to **P**osterior, columns from the patient's right to **L**eft.
  KiTS files are stored so, and `plt.imshow(volume[z])` shows the radiological view.
* An affine maps voxel indices `(d, h, w, 1)` to world coordinates in mm, with NIfTI's RAS+ axes (x to the right, y to
  the front, z up).
"""

from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

Triple = tuple[int, int, int]
Spacing = tuple[float, float, float]

IN_MEMORY = ("I", "P", "L")


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the voxels of a volume lie.

    Args:
        shape: number of voxels along each axis.
        affine: `(4, 4)` float64, voxel index to RAS+ world in mm.
    """

    shape: Triple
    affine: NDArray[np.float64]

    @property
    def spacing(self) -> Spacing:
        """Distance between neighbouring voxels along each axis, in mm."""
        d, h, w = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(d), float(h), float(w)

    @property
    def orientation(self) -> tuple[str, str, str]:
        """Direction in which each axis grows, by nibabel's letters."""
        return tuple(nib.orientations.aff2axcodes(self.affine))

    @property
    def skew_degrees(self) -> float:
        """How far the axes are from right angles to each other, at most; above 0 for a scan by a tilted gantry."""
        axes = self.affine[:3, :3] / self.spacing
        cosines = np.abs(np.triu(axes.T @ axes, k=1))
        return float(np.degrees(np.arcsin(np.clip(cosines.max(), 0, 1))))

    def same_as(self, other: "Grid", tolerance_mm: float = 1e-3) -> bool:
        """Tells whether both grids put every voxel at the same place, to `tolerance_mm`."""
        return self.shape == other.shape and self.distance_to(other) <= tolerance_mm

    def distance_to(self, other: "Grid") -> float:
        """Largest distance in mm between the corners of this grid's box under the two affines."""
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape], [1], indexing="ij")).reshape(4, -1)
        moved = ((self.affine - other.affine) @ corners)[:3]
        return float(np.linalg.norm(moved, axis=0).max())


@dataclass(frozen=True, eq=False)
class Volume:
    """An array and the grid it lies on.

    Args:
        array: `(D, H, W)`; Hounsfield units or labels.
        grid: of the same shape.
    """

    array: NDArray[Any]
    grid: Grid


def grid_from_spacing(shape: Triple, spacing: Spacing) -> Grid:
    """Grid in the in-memory orientation with its first voxel at the origin.

    Args:
        shape: `(D, H, W)`.
        spacing: mm, `(D, H, W)`.

    Returns:
        The grid: slices run down (-z), rows to the back (-y), columns to the left (-x in RAS+).
    """
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = -spacing[0], -spacing[1], -spacing[2]
    affine[3, 3] = 1.0
    return Grid(shape, affine)


def reorient(volume: Volume, orientation: tuple[str, str, str] = IN_MEMORY) -> Volume:
    """Flips and transposes a volume to an orientation, without moving any voxel in space.

    Args:
        volume: in any orientation; oblique affines go to the nearest axes.
        orientation: nibabel's letters of the wanted axes.

    Returns:
        The same voxels on the reordered grid; the array is a view where nothing has to move.
    """
    have = nib.orientations.io_orientation(volume.grid.affine)
    want = nib.orientations.axcodes2ornt(orientation)
    change = nib.orientations.ornt_transform(have, want)
    array = nib.orientations.apply_orientation(volume.array, change)
    affine = volume.grid.affine @ nib.orientations.inv_ornt_aff(change, volume.array.shape)
    return Volume(array, Grid(array.shape, affine))
