"""Volumes of masks and how they differ."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kidney_lab.geometry import Spacing
from kidney_lab.metrics.overlap import Confusion, confusion

_MM3_PER_ML = 1000.0


def volume_ml(mask: NDArray[Any], spacing_mm: Spacing) -> float:
    """Volume of a mask: number of voxels times the volume of one.

    Args:
        mask: `(D, H, W)`; nonzero is foreground.
        spacing_mm: distance between voxels, (D, H, W), in mm.

    Returns:
        Volume in ml (cm³); 0 for an empty mask.

    >>> volume_ml(np.ones((10, 10, 10)), (3.0, 1.0, 1.0))
    3.0
    """
    return float(np.count_nonzero(mask) * np.prod(spacing_mm) / _MM3_PER_ML)


def relative_volume_difference(prediction: NDArray[Any], reference: NDArray[Any]) -> float:
    """Signed difference of volume as a share of the reference's: `(V_pred - V_ref) / V_ref`.

    ERNet (Xue et al., Traitement du Signal 42(4), 2025) prints `V_seg / V_gt * 100 %` as its Eq. 5, which cannot be
    negative, while its Table 1 holds negative fractions: the signed fraction is the reading that fits them. A value
    above 0 is too much, below 0 too little; rank by the absolute value. MedPy calls the same number `ravd`.

    Args:
        prediction: mask `(D, H, W)`; nonzero is foreground.
        reference: mask of the same shape, on the same grid, so that the spacing cancels.

    Returns:
        Fraction (no unit) of -1 or more, 0 is best; -1 for an empty prediction, NaN for an empty reference.

    Raises:
        InputError: if the shapes differ or are not three-dimensional.
    """
    return relative_difference(confusion(prediction, reference))


def relative_difference(counts: Confusion) -> float:
    """The same of voxels that are counted already: `(fp - fn) / (tp + fn)`.

    >>> relative_difference(Confusion(tp=3, fp=2, fn=1, tn=0))
    0.25
    """
    wanted = counts.tp + counts.fn
    return (counts.fp - counts.fn) / wanted if wanted else float("nan")


def false_positive_volume_ml(prediction: NDArray[Any], reference: NDArray[Any], spacing_mm: Spacing) -> float:
    """Volume of what is predicted and not there: `fp` voxels times the volume of one.

    Fig. 6 of ERNet (Xue et al., Traitement du Signal 42(4), 2025) shows what regions of interest spare, in pictures
    alone.

    Args:
        prediction: mask `(D, H, W)`; nonzero is foreground.
        reference: mask of the same shape, on the same grid.
        spacing_mm: distance between voxels, (D, H, W), in mm.

    Returns:
        Volume in ml (cm³), 0 is best; without a reference, all that is predicted.

    Raises:
        InputError: if the shapes differ or are not three-dimensional.
    """
    return false_positive_ml(confusion(prediction, reference), spacing_mm)


def false_positive_ml(counts: Confusion, spacing_mm: Spacing) -> float:
    """The same of voxels that are counted already.

    >>> false_positive_ml(Confusion(tp=3, fp=10, fn=1, tn=0), (5.0, 2.0, 2.0))
    0.2
    """
    return float(counts.fp * np.prod(spacing_mm) / _MM3_PER_ML)
