"""Connected components of a mask: the single tumors or cysts of a label map, with their volume and diameter.

Voxels that touch by a face, an edge or a corner belong together (26-connectivity). Masks of tumors hold stray voxels:
of 140 components in the references of KiTS19's first 120 cases, 126 have 1.1 ml and more, and 14 have 0.13 ml and less,
most of them a few voxels. What is smaller than a sphere of 5 mm is therefore called a speck; specks are counted, but
apart from lesions.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from kidney_lab.geometry import Spacing
from kidney_lab.metrics.surface import common_box

SPECK_ML: Final = float(np.pi / 6 * 0.5**3)
"""Volume below which a component is a speck and no lesion: that of a sphere of 5 mm, 0.065 ml."""

_TOUCHING = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True, eq=False)
class Component:
    """One connected part of a mask.

    Args:
        mask: of this component alone, `(d, h, w)`, within its box.
        box: where that lies in the whole array.
        spacing_mm: distance between voxels, (D, H, W), in mm.
    """

    mask: NDArray[np.bool_]
    box: tuple[slice, slice, slice]
    spacing_mm: Spacing

    @property
    def volume_ml(self) -> float:
        """Number of voxels times the volume of one."""
        return float(np.count_nonzero(self.mask) * np.prod(self.spacing_mm) / 1000)

    @property
    def diameter_mm(self) -> float:
        """Largest axial diameter, see `axial_diameter_mm`."""
        return axial_diameter_mm(self.mask, self.spacing_mm)


def connected_components(mask: NDArray[Any], spacing_mm: Spacing) -> list[Component]:
    """Takes a mask apart into what hangs together.

    Args:
        mask: `(D, H, W)`; nonzero is foreground.
        spacing_mm: distance between voxels, (D, H, W), in mm.

    Returns:
        Its components, 26-connected, largest volume first; none for an empty mask.
    """
    outer = common_box(mask)
    d, h, w = (side.start for side in outer)
    labels, n = ndimage.label(mask[outer], structure=_TOUCHING)
    boxes = ndimage.find_objects(labels) if n else []
    found = [
        Component(
            mask=labels[box] == number,
            box=(_moved(box[0], d), _moved(box[1], h), _moved(box[2], w)),
            spacing_mm=spacing_mm,
        )
        for number, box in enumerate(boxes, start=1)
    ]
    return sorted(found, key=lambda component: component.volume_ml, reverse=True)


def _moved(side: slice, by: int) -> slice:
    return slice(side.start + by, side.stop + by)


def axial_diameter_mm(mask: NDArray[np.bool_], spacing_mm: Spacing) -> float:
    """Largest distance between two points of a mask that lie in one axial slice.

    A voxel is the whole rectangle around its centre, so the distance goes from outer corner to outer corner: one voxel
    of 1x1 mm has a diameter of 1.41 mm, and a row of ten one of 10.05 mm. Distances between centres would be about a
    voxel shorter, and 0 for a tumor one voxel across. Gaps within the slice are measured across, as with calipers. On
    the references of KiTS19's first 120 cases the median is 1.10 times the clinical table's `radiographic_size`
    (Spearman's correlation 0.96).

    Args:
        mask: `(D, H, W)` of one component; axis 0 runs through the slices.
        spacing_mm: distance between voxels, (D, H, W), in mm.

    Returns:
        mm, exact; 0 for an empty mask.
    """
    return max((_extent_mm(plane, spacing_mm) for plane in mask if plane.any()), default=0.0)


def _extent_mm(plane: NDArray[np.bool_], spacing_mm: Spacing) -> float:
    """Largest distance between two corners of the voxels of one slice `(H, W)`, at least one of which is true."""
    rows = np.flatnonzero(plane.any(axis=1))
    first = plane[rows].argmax(axis=1)
    beyond = plane.shape[1] - plane[rows, ::-1].argmax(axis=1)
    # the farthest corners of a row are those of its first and last voxel
    corners = np.concatenate([np.stack([rows + down, side], 1) for down in (0, 1) for side in (first, beyond)])
    points = corners * np.asarray(spacing_mm[1:])
    return float(pdist(points[ConvexHull(points).vertices]).max())
