"""Metrics per axial slice (`level=slice`), for papers that score slices and not cases.

Only slices that hold the region in the prediction, in the reference or in both count: on all others most metrics are
undefined, and conventions for them would drown the rest. A slice with a false positive thus counts against a method.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kidney_lab.metrics.surface import check_shapes


@dataclass(frozen=True)
class SliceMean:
    """Mean of a metric over slices.

    Args:
        mean: mean over the slices where the metric is defined; NaN if there are none.
        n: number of those slices.
        n_undefined: number of slices that hold the region, but where the metric is undefined (NaN).
    """

    mean: float
    n: int
    n_undefined: int


def occupied_slices(prediction: NDArray[Any], reference: NDArray[Any]) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Goes through the slices that hold the region in either mask, from the first on.

    Args:
        prediction: mask `(D, H, W)`; nonzero is foreground.
        reference: mask of the same shape.

    Yields:
        Views `(1, H, W)` of the prediction and the reference: volumes of one slice, on which every metric of masks
        works. Distances need `contour_distances`, which stays within the plane.

    Raises:
        InputError: if the shapes differ or are not three-dimensional.
    """
    check_shapes(prediction, reference)
    for d in np.flatnonzero(prediction.any(axis=(1, 2)) | reference.any(axis=(1, 2))):
        yield prediction[d : d + 1], reference[d : d + 1]


def slice_mean(
    metric: Callable[[NDArray[Any], NDArray[Any]], float], prediction: NDArray[Any], reference: NDArray[Any]
) -> SliceMean:
    """Averages a metric over the slices that hold the region in either mask.

    Args:
        metric: takes the masks `(1, H, W)` of one slice, prediction first; NaN where undefined.
        prediction: mask `(D, H, W)`; nonzero is foreground.
        reference: mask of the same shape.

    Returns:
        The mean and how many slices it is of.

    Raises:
        InputError: if the shapes differ or are not three-dimensional.

    >>> masks = np.ones((3, 2, 2)), np.ones((3, 2, 2))
    >>> slice_mean(lambda prediction, reference: float(prediction.sum() / reference.sum()), *masks)
    SliceMean(mean=1.0, n=3, n_undefined=0)
    """
    return mean_of([metric(*pair) for pair in occupied_slices(prediction, reference)])


def mean_of(values: Sequence[float]) -> SliceMean:
    """Mean of the values of the slices that hold the region, where they are defined.

    >>> mean_of([0.5, float("nan"), 1.0])
    SliceMean(mean=0.75, n=2, n_undefined=1)
    """
    everything = np.array(values, dtype=float)
    defined = everything[~np.isnan(everything)]
    mean = float(defined.mean()) if defined.size else float("nan")
    return SliceMean(mean, defined.size, everything.size - defined.size)
