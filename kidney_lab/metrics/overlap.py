"""Metrics that count voxels: Jaccard index, sensitivity, specificity, precision, F1 and pixel accuracy.

All of them are functions of the same four counts. Where a formula divides by zero the value is undefined (NaN), never
1 or 0 by convention; the challenges' rule for empty masks belongs to their own scores (`kidney_lab.metrics.kits`).

Counts of several cases add up: `f1(confusion(a, b) + confusion(c, d))` is the pooled value over both, where large
regions weigh more, and which differs from the mean of the two values. Pooled values obey Jaccard = F1 / (2 - F1) and
F1 = 2 PR / (P + R), means over cases do not.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kidney_lab.metrics.surface import check_shapes, common_box


@dataclass(frozen=True)
class Confusion:
    """Voxels by what the prediction says and what the reference says; whole numbers, unless averaged over trainings.

    Args:
        tp: true positives, in both masks.
        fp: false positives, in the prediction alone.
        fn: false negatives, in the reference alone.
        tn: true negatives, in neither.
    """

    tp: float
    fp: float
    fn: float
    tn: float

    def __add__(self, other: "Confusion") -> "Confusion":
        return Confusion(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)


def confusion(prediction: NDArray[Any], reference: NDArray[Any], *, voxels: int | None = None) -> Confusion:
    """Counts the voxels of two masks, looking at their common box alone and holding one slice more than the masks.

    Args:
        prediction: mask `(D, H, W)`; nonzero is foreground.
        reference: mask of the same shape.
        voxels: of the whole scan, where the masks were cut out of it.

    Returns:
        The four counts, which add up to `voxels`, or to `D * H * W`.

    Raises:
        InputError: if the shapes differ or are not three-dimensional.
    """
    check_shapes(prediction, reference)
    box = common_box(prediction, reference)
    inside, wanted = prediction[box], reference[box]
    tp = sum(int(np.count_nonzero(np.logical_and(p, r))) for p, r in zip(inside, wanted, strict=True))
    fp, fn = int(np.count_nonzero(inside)) - tp, int(np.count_nonzero(wanted)) - tp
    return Confusion(tp, fp, fn, (voxels or prediction.size) - tp - fp - fn)


def jaccard(counts: Confusion) -> float:
    """Jaccard index, intersection over union (IoU): `tp / (tp + fp + fn)` in [0, 1]; undefined if both are empty.

    P. Jaccard, New Phytologist 1912, doi:10.1111/j.1469-8137.1912.tb05611.x.

    >>> jaccard(Confusion(tp=1, fp=1, fn=0, tn=2))
    0.5
    """
    return _ratio(counts.tp, counts.tp + counts.fp + counts.fn)


def sensitivity(counts: Confusion) -> float:
    """Share of the reference that was found: `tp / (tp + fn)` in [0, 1]; undefined if the reference is empty."""
    return _ratio(counts.tp, counts.tp + counts.fn)


recall = sensitivity
"""The same under machine learning's name."""


def specificity(counts: Confusion) -> float:
    """Share of the background that was left alone: `tn / (tn + fp)` in [0, 1]; undefined if there is no background.

    It grows with the field of view: nearly all voxels of a scan are background, so that it says little by itself.
    """
    return _ratio(counts.tn, counts.tn + counts.fp)


def precision(counts: Confusion) -> float:
    """Share of the prediction that is right: `tp / (tp + fp)` in [0, 1]; undefined if the prediction is empty."""
    return _ratio(counts.tp, counts.tp + counts.fp)


def f1(counts: Confusion) -> float:
    """F1, the harmonic mean of precision and recall: `2 tp / (2 tp + fp + fn)` in [0, 1]; undefined if both are empty.

    The same formula as `dice`, which the challenges set to 1 where both masks are empty.
    """
    return _ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn)


def dice(counts: Confusion) -> float:
    """Dice by the challenges' rule for empty masks, as `kidney_lab.metrics.dice` of arrays: 1 if both are empty."""
    return f1(counts) if counts.tp or counts.fp or counts.fn else 1.0


def pixel_accuracy(counts: Confusion) -> float:
    """Share of all voxels that are right: `(tp + tn) / (tp + fp + fn + tn)` in [0, 1]; undefined without voxels.

    Read it beside `background_accuracy`: a prediction that finds nothing is right for more than 98 % of a CT slice.
    """
    return _ratio(counts.tp + counts.tn, counts.tp + counts.fp + counts.fn + counts.tn)


def background_accuracy(counts: Confusion) -> float:
    """Pixel accuracy that an empty prediction would have: `(fp + tn) / (tp + fp + fn + tn)` in [0, 1]."""
    return _ratio(counts.fp + counts.tn, counts.tp + counts.fp + counts.fn + counts.tn)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
