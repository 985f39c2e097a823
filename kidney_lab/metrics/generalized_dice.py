"""Generalised Dice: one overlap of several labels, in which small labels weigh as much as large ones.

C. H. Sudre et al., "Generalised Dice overlap as a deep learning loss function for highly unbalanced segmentations",
DLMIA 2017, doi:10.1007/978-3-319-67558-9_28; Eq. 2.2 of Hao's thesis (Melbourne 2024), which leaves the weights open.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from kidney_lab.errors import InputError
from kidney_lab.labels import BACKGROUND, LABELS
from kidney_lab.metrics.surface import check_shapes

Weight = Literal["square", "simple", "uniform"]

WEIGHTS: Final[Mapping[Weight, Callable[[NDArray[np.float64]], NDArray[np.float64]]]] = {
    "square": lambda voxels: 1 / voxels**2,
    "simple": lambda voxels: 1 / voxels,
    "uniform": np.ones_like,
}
"""Weight of a label by its voxels in the reference, under MONAI's names; Sudre's is "square"."""


def generalized_dice(
    prediction: NDArray[Any],
    reference: NDArray[Any],
    labels: Sequence[int] = (BACKGROUND, *LABELS.values()),
    *,
    weight_type: Weight = "square",
) -> float:
    """Generalised Dice of two label maps: `2 sum_l(w_l |P_l & R_l|) / sum_l(w_l (|P_l| + |R_l|))`.

    The weight of a label is `w_l = 1 / |R_l|²`. A label that the reference lacks would weigh infinitely much: it gets
    the largest weight of the others, or 1 if it lacks all, as in MONAI's `GeneralizedDiceScore` and
    `GeneralizedDiceLoss`. So a label that both lack changes nothing, and one that is predicted alone costs.

    Args:
        prediction: label map `(D, H, W)`.
        reference: label map of the same shape.
        labels: values to score, the background among them as in the paper; leave it out to score the foreground.
        weight_type: "square" (Sudre), "simple" (`1 / |R_l|`) or "uniform" (1).

    Returns:
        Overlap in [0, 1], larger is better; NaN if neither map holds any of the labels.

    Raises:
        InputError: if the shapes differ, are not three-dimensional, there is no label, or no such weight.
    """
    check_shapes(prediction, reference)
    if weight_type not in WEIGHTS:
        raise InputError(f"The weight_type {weight_type!r} is unknown: choose out of {', '.join(WEIGHTS)}.")
    if not labels:
        raise InputError("The list of labels is empty: name at least one, such as 1 for the kidney.")
    both, predicted, wanted = _voxels(prediction, reference, labels)
    weights = _weights(wanted, weight_type)
    total = np.sum(weights * (predicted + wanted))
    return float(2 * np.sum(weights * both) / total) if total else float("nan")


def _weights(wanted: NDArray[np.float64], weight_type: Weight) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        weights = WEIGHTS[weight_type](wanted)
    absent = np.isinf(weights)
    return np.where(absent, np.max(weights, where=~absent, initial=0.0) or 1.0, weights)


def _voxels(prediction: NDArray[Any], reference: NDArray[Any], labels: Sequence[int]) -> NDArray[np.float64]:
    """Voxels of each label in both maps, in the prediction and in the reference, `(3, len(labels))`, slice by slice."""
    counts = np.zeros((3, len(labels)))
    for inside, wanted in zip(prediction, reference, strict=True):
        for column, label in enumerate(labels):
            p, r = inside == label, wanted == label
            counts[:, column] += np.count_nonzero(p & r), np.count_nonzero(p), np.count_nonzero(r)
    return counts
