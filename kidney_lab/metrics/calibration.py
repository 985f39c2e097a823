"""Expected calibration error: whether a network that says 0.9 is right nine times out of ten.

M. P. Naeini, G. F. Cooper, M. Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015;
C. Guo et al., "On calibration of modern neural networks", ICML 2017 (15 bins of equal width).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kidney_lab.errors import InputError
from kidney_lab.metrics.surface import common_box

_SUM_TOLERANCE = 1e-2  # probabilities may come from half precision


def expected_calibration_error(
    probs: NDArray[np.floating[Any]], reference: NDArray[Any], *, bins: int = 15, foreground_box: bool = False
) -> float:
    """Gap between confidence and accuracy: `sum_b(n_b / n |accuracy_b - confidence_b|)` over the bins of confidence.

    * Probabilities `(C, D, H, W)` of classes that exclude each other: the confidence of a voxel is its largest
      probability, its accuracy whether that class is the reference's.
    * Probability `(D, H, W)` of one region (nested regions are scored one by one): the confidence of a voxel is this
      probability, its accuracy whether it belongs to the region, so that low probabilities count as well.

    Bin `b` holds the confidences in `[b / bins, (b + 1) / bins)`, the last one 1 as well. Nearly all voxels of a CT are
    easy background, which hides what happens at the organ: `foreground_box` leaves out what lies far from it. Memory
    beyond the arrays is that of one slice.

    Args:
        probs: probabilities in [0, 1], `(C, D, H, W)` or `(D, H, W)`; a memory map is read slice by slice.
        reference: `(D, H, W)`: the channel of the true class of each voxel, or a mask of the region.
        bins: number of bins of equal width.
        foreground_box: count the voxels of the smallest box around the reference's foreground alone.

    Returns:
        Error in [0, 1], smaller is better; NaN if there are no voxels, as in the box of an empty reference.

    Raises:
        InputError: if the shapes do not match, a value is no probability, or there is no bin.
    """
    if probs.ndim not in (3, 4) or probs.shape[-3:] != reference.shape:
        raise InputError(
            f"The probabilities have shape {probs.shape} and the reference {reference.shape}, but must be (C, D, H, W) "
            "or (D, H, W), and (D, H, W): resample them to the same grid."
        )
    if bins < 1:
        raise InputError(f"The number of bins is {bins}, but must be 1 or more: 15 is usual.")
    slices, rows, columns = common_box(reference) if foreground_box else (slice(None),) * 3
    gaps, voxels = np.zeros(bins), 0
    for d in range(reference.shape[0])[slices]:
        wanted = reference[d, rows, columns]
        confidence, right = _confidence(np.asarray(probs[..., d, rows, columns], dtype=np.float64), wanted)
        # hits minus confidences: their sum over a bin is n_b (accuracy_b - confidence_b)
        gaps += np.histogram(confidence, bins, range=(0, 1), weights=right - confidence)[0]
        voxels += wanted.size
    return float(np.abs(gaps).sum() / voxels) if voxels else float("nan")


def _confidence(probs: NDArray[np.float64], wanted: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Confidence of the voxels of a slice, and whether each is right: `(H, W)` both."""
    if probs.size and not (probs.min() >= 0 and probs.max() <= 1):  # false for NaN as well
        raise InputError(
            f"The probabilities lie between {probs.min():.4g} and {probs.max():.4g}, but must lie in [0, 1]: apply "
            "softmax or sigmoid to logits."
        )
    if probs.ndim == 2:
        return probs, wanted != 0
    sums = probs.sum(axis=0)
    if sums.size and np.abs(sums - 1).max() > _SUM_TOLERANCE:
        raise InputError(
            f"The probabilities of the classes of a voxel add up to {sums.flat[np.abs(sums - 1).argmax()]:.4g}, but "
            "must add up to 1: score the regions of a sigmoid one by one."
        )
    return probs.max(axis=0), probs.argmax(axis=0) == wanted
