"""Distances between the surfaces of two masks, and the surface Dice made of them.

S. Nikolov et al., "Clinically applicable segmentation of head and neck anatomy for radiotherapy", J Med Internet Res
2021, doi:10.2196/26151; the numbers equal those of its authors' evaluation code, which
KiTS21 and KiTS23 use. Every metric of surfaces (surface Dice, Hausdorff distance, average distance) comes from the
same two lists of distances and areas.

What the surface of a mask is has two definitions in the field, and both are here:

* `surfel` (the challenges', the default): elements between voxels, each with an area that weights it.
* `voxel` (MONAI and MedPy): the border voxels, which a mask loses when it is eroded by its neighbours across faces
  (6 in a volume, 4 in a slice). All weigh the same, however anisotropic the voxels are.

Speed: only the common box of the masks is looked at, surface elements that both masks share have distance 0 by
membership, and the others look for their nearest neighbour (`kidney_lab.metrics.nearest`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, generate_binary_structure

from kidney_lab.errors import InputError
from kidney_lab.geometry import Spacing
from kidney_lab.metrics.nearest import nearest_mm
from kidney_lab.metrics.surfels import is_surface, neighbour_codes, surfel_areas

Surface = Literal["surfel", "voxel"]


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distances between the surface elements of a prediction and a reference.

    Args:
        pred_to_ref: `(N,)` mm, from each element of the prediction to the nearest of the reference; infinite where
            the reference is empty.
        pred_area: `(N,)`, weights of the same elements: mm² of surface, mm of outline in a slice, 1 for a border voxel.
        ref_to_pred: `(M,)` mm, from each element of the reference to the nearest of the prediction.
        ref_area: `(M,)`, in the unit of `pred_area`.
        surface: what counts as surface.
    """

    pred_to_ref: NDArray[np.float64]
    pred_area: NDArray[np.float64]
    ref_to_pred: NDArray[np.float64]
    ref_area: NDArray[np.float64]
    surface: Surface = "surfel"


def surface_distances(
    prediction: NDArray[Any], reference: NDArray[Any], spacing_mm: Spacing, *, surface: Surface = "surfel"
) -> SurfaceDistances:
    """Measures how far apart the surfaces of two masks are.

    Args:
        prediction: mask `(D, H, W)`; nonzero is foreground, outside the array is background.
        reference: mask of the same shape.
        spacing_mm: distance between voxels, (D, H, W), in mm; (1, 1, 1) gives distances in voxels.
        surface: "surfel" or "voxel", see the head of this file.

    Returns:
        Distances and areas of all surface elements, in no particular order; empty lists for an empty mask.

    Raises:
        InputError: if the shapes differ, are not three-dimensional, the spacing is not positive, or there is no such
            surface.
    """
    check_pair(prediction, reference, spacing_mm)
    return _measure(prediction, reference, spacing_mm, surface, _IN_SPACE)


def contour_distances(
    prediction: NDArray[Any], reference: NDArray[Any], spacing_mm: Spacing, *, surface: Surface = "surfel"
) -> SurfaceDistances:
    """Measures how far apart the outlines of two masks are within one slice.

    As a volume a slice would be all surface, on its upper and lower side; here its outline alone counts, as it does
    for two-dimensional masks.

    Args:
        prediction: mask `(1, H, W)`; nonzero is foreground, outside the array is background.
        reference: mask of the same shape.
        spacing_mm: distance between voxels, (D, H, W), in mm, of which D has no effect.
        surface: "surfel" (pieces of the outline, weighted by their length in mm) or "voxel" (border pixels).

    Returns:
        Distances and lengths of all pieces of the outlines, in no particular order; empty lists for an empty mask.

    Raises:
        InputError: as `surface_distances`, and if there is more or less than one slice.
    """
    check_pair(prediction, reference, spacing_mm)
    if len(prediction) != 1:
        raise InputError(
            f"The masks have shape {prediction.shape}, but outlines are those of one slice (1, H, W): give the slices "
            "one by one, or measure surfaces."
        )
    return _measure(prediction, reference, spacing_mm, surface, _IN_PLANE)


def surface_dice(distances: SurfaceDistances, tolerance_mm: float) -> float:
    """Share of both surfaces that lies within a tolerance of the other one.

    By the rule of KiTS21 and KiTS23, two empty masks give 1 and one empty mask gives 0. With voxels as the surface it
    is MONAI's `SurfaceDiceMetric(use_subvoxels=False)`.

    Args:
        distances: from `surface_distances`, or from `contour_distances` for one slice.
        tolerance_mm: largest distance, in mm, at which an element still counts as found.

    Returns:
        Surface Dice in [0, 1], larger is better.
    """
    total = distances.pred_area.sum() + distances.ref_area.sum()
    found = (
        distances.pred_area[distances.pred_to_ref <= tolerance_mm].sum()
        + distances.ref_area[distances.ref_to_pred <= tolerance_mm].sum()
    )
    return float(found / total) if total else 1.0


def check_shapes(prediction: NDArray[Any], reference: NDArray[Any]) -> None:
    """Refuses arrays that cannot be compared voxel by voxel.

    Raises:
        InputError: if the shapes differ or are not three-dimensional.
    """
    if prediction.shape != reference.shape or prediction.ndim != 3:
        raise InputError(
            f"The prediction has shape {prediction.shape} and the reference {reference.shape}, but both must be the "
            "same (D, H, W): resample the prediction to the grid of the reference."
        )


def check_pair(prediction: NDArray[Any], reference: NDArray[Any], spacing_mm: Spacing) -> None:
    """Refuses arrays that cannot be compared in mm.

    Raises:
        InputError: if the shapes differ, are not three-dimensional, or the spacing is not three positive numbers.
    """
    check_shapes(prediction, reference)
    if len(spacing_mm) != 3 or not (np.isfinite(spacing_mm).all() and min(spacing_mm) > 0):
        raise InputError(
            f"The spacing is {tuple(spacing_mm)}, but must be three positive numbers (D, H, W) in mm: take it from the "
            "image's affine."
        )


def common_box(*arrays: NDArray[Any]) -> tuple[slice, slice, slice]:
    """Smallest box that holds everything nonzero in any of the arrays `(D, H, W)`; empty if all are zero."""
    box = [slice(None)] * 3
    slowest_first = sorted(range(3), key=lambda axis: arrays[0].strides[axis], reverse=True)
    for axis in slowest_first:  # what is cut away first is then whole pieces of memory
        others = tuple(other for other in range(3) if other != axis)
        hit = np.logical_or.reduce([_occupied(array[tuple(box)], others) for array in arrays])
        at = np.flatnonzero(hit)
        box[axis] = slice(int(at[0]), int(at[-1]) + 1) if at.size else slice(0, 0)
    return box[0], box[1], box[2]


def _occupied(array: NDArray[Any], axes: tuple[int, ...]) -> NDArray[np.bool_]:
    if array.dtype.kind == "u":  # twice as fast as `any`
        return np.asarray(array.max(axis=axes, initial=0) > 0)
    return np.asarray(array.any(axis=axes))


_Elements = tuple[NDArray[np.bool_], NDArray[np.float64]]
"""Where the surface elements of a mask lie, and their areas in that order."""


def _surfels(mask: NDArray[np.bool_], spacing_mm: Spacing) -> _Elements:
    codes = neighbour_codes(mask)
    found = is_surface(codes)
    return found, surfel_areas(spacing_mm)[codes[found]]


def _outline_pieces(mask: NDArray[np.bool_], spacing_mm: Spacing) -> _Elements:
    """Surface of a prism that has the slice as its base, at half its height: a prism 1 mm high has mm² = mm."""
    codes = neighbour_codes(np.repeat(mask, 2, axis=0))[1:2]
    found = is_surface(codes)
    return found, surfel_areas((1.0, *spacing_mm[1:]))[codes[found]]


def _border_voxels(mask: NDArray[np.bool_], spacing_mm: Spacing, neighbours: NDArray[np.bool_]) -> _Elements:
    found = mask & ~binary_erosion(mask, neighbours)
    return found, np.ones(np.count_nonzero(found))


_Definitions = Mapping[Surface, Callable[[NDArray[np.bool_], Spacing], _Elements]]

_IN_SPACE: _Definitions = {
    "surfel": _surfels,
    "voxel": partial(_border_voxels, neighbours=generate_binary_structure(3, 1)),
}
_IN_PLANE: _Definitions = {
    "surfel": _outline_pieces,
    "voxel": partial(_border_voxels, neighbours=generate_binary_structure(2, 1)[np.newaxis]),
}


def _measure(
    prediction: NDArray[Any], reference: NDArray[Any], spacing_mm: Spacing, surface: Surface, definitions: _Definitions
) -> SurfaceDistances:
    if surface not in definitions:
        raise InputError(f"The surface {surface!r} is unknown: choose out of {', '.join(definitions)}.")
    box = common_box(prediction, reference)
    on_pred, pred_area = definitions[surface](prediction[box].astype(bool, copy=False), spacing_mm)
    on_ref, ref_area = definitions[surface](reference[box].astype(bool, copy=False), spacing_mm)
    return SurfaceDistances(
        pred_to_ref=nearest_mm(on_pred, on_ref, spacing_mm),
        pred_area=pred_area,
        ref_to_pred=nearest_mm(on_ref, on_pred, spacing_mm),
        ref_area=ref_area,
        surface=surface,
    )
