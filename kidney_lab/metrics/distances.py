"""Average and Hausdorff distance between the surfaces of two masks.

Both come from the lists of `kidney_lab.metrics.surface`, so that one computation gives all of them, with either
definition of a surface, in a volume (`surface_distances`) or within one slice (`contour_distances`). The unit is that
of the spacing: mm, or voxels with a spacing of (1, 1, 1). Distances to a surface that does not exist are undefined: NaN
if either mask is empty.

Each distance has two readings, and packages differ. `pooled=True` takes the elements of both surfaces as one list, so
that the larger surface counts more; `pooled=False` treats each direction by itself first.

| | pooled | each direction by itself |
|---|---|---|
| average | ERNet Eqs. 6 and 7, MONAI `symmetric=True`, MedPy from 0.5 (`assd`) | MedPy up to 0.4 |
| 95th percentile | MedPy (`hd95`) | MONAI, surface-distance |

The packages agree on the maximum, which is the same in both readings.
"""

import numpy as np
from numpy.typing import NDArray

from kidney_lab.errors import InputError
from kidney_lab.metrics.surface import Surface, SurfaceDistances

_Direction = tuple[NDArray[np.float64], NDArray[np.float64]]


def average_symmetric_surface_distance(distances: SurfaceDistances, *, pooled: bool = True) -> float:
    """Mean distance between two surfaces (ASSD; ERNet's ASD).

    With `d` the distances and `a` the areas (all 1 for border voxels), in each direction:
    pooled `sum(a d) / sum(a)` over both, else the mean of the two values of `sum(a d) / sum(a)`.

    ERNet (Xue et al., Traitement du Signal 42(4), 2025) defines the set of distances of one direction in Eq. 6, leaves
    the other undefined and averages over both sets in Eq. 7: the pooled mean over border voxels. The paper leaves its
    unit open.

    Args:
        distances: from `surface_distances` or `contour_distances`.
        pooled: whether both surfaces are one list.

    Returns:
        Distance of 0 or more in the unit of the spacing, smaller is better; NaN if either mask is empty.
    """
    if _undefined(distances):
        return float("nan")
    return float(np.mean([np.average(d, weights=area) for d, area in _directions(distances, pooled)]))


def hausdorff_distance(distances: SurfaceDistances, *, percentile: float = 100.0, pooled: bool = False) -> float:
    """Largest distance between two surfaces, or a percentile of it that forgives outliers (HD, HD95).

    The percentile of border voxels interpolates linearly between two of them, as NumPy, MONAI and MedPy do. That of
    surface elements is the smallest distance within which lies the given share of the area, as in the code of
    S. Nikolov et al., J Med Internet Res 2021, doi:10.2196/26151.

    Args:
        distances: from `surface_distances` or `contour_distances`.
        percentile: 100 is the Hausdorff distance, 95 the usual robust one.
        pooled: take the percentile of both surfaces as one list; otherwise the larger of the two directions' own.

    Returns:
        Distance of 0 or more in the unit of the spacing, smaller is better; NaN if either mask is empty.

    Raises:
        InputError: if the percentile is not in (0, 100].
    """
    if not 0 < percentile <= 100:
        raise InputError(f"The percentile is {percentile}, but must be above 0 and at most 100: 95 is usual.")
    if _undefined(distances):
        return float("nan")
    return max(_percentile(d, area, percentile, distances.surface) for d, area in _directions(distances, pooled))


def _undefined(distances: SurfaceDistances) -> bool:
    return not (distances.pred_to_ref.size and distances.ref_to_pred.size)


def _directions(distances: SurfaceDistances, pooled: bool) -> list[_Direction]:
    pred, ref = (distances.pred_to_ref, distances.pred_area), (distances.ref_to_pred, distances.ref_area)
    return [(np.concatenate([pred[0], ref[0]]), np.concatenate([pred[1], ref[1]]))] if pooled else [pred, ref]


def _percentile(
    distances: NDArray[np.float64], areas: NDArray[np.float64], percentile: float, surface: Surface
) -> float:
    if percentile == 100:
        return float(distances.max())
    if surface == "voxel":
        return float(np.percentile(distances, percentile))
    order = np.lexsort((areas, distances))
    share = np.cumsum(areas[order]) / areas.sum()
    # rounding may leave the last share just below the percentile's
    at = min(int(np.searchsorted(share, percentile / 100)), len(order) - 1)
    return float(distances[order[at]])
