"""The official scores of KiTS21 and KiTS23: Dice and surface Dice of the nested regions.

N. Heller et al., "The KiTS21 Challenge", arXiv:2307.01984 ("hierarchical evaluation classes"). The
tolerances of the surface Dice come from the disagreement between annotators and are those of the challenges' own
evaluation (neheller/kits23, `kits23/configuration/labels.py`).
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kidney_lab.errors import InputError
from kidney_lab.geometry import Spacing
from kidney_lab.labels import LABELS, OFFICIAL_REGIONS, REGIONS
from kidney_lab.metrics.dice import dice
from kidney_lab.metrics.surface import check_pair, common_box, surface_dice, surface_distances

METRICS: Final = ("dice", "surface_dice")

TOLERANCES_MM: Final[dict[str, float]] = {
    "kidney_and_mass": 1.0330772532390826,
    "mass": 1.1328796488598762,
    "tumor": 1.1498198361434828,
    # The challenges give none for these two: they take the tolerance of the region that has the same outer surface.
    "kidney": 1.0330772532390826,
    "cyst": 1.1328796488598762,
}
"""Tolerance of the surface Dice for each region, in mm."""


def kits_scores(
    prediction: NDArray[Any],
    reference: NDArray[Any],
    spacing_mm: Spacing,
    regions: Sequence[str] = OFFICIAL_REGIONS,
) -> dict[tuple[str, str], float]:
    """Scores one predicted label map as the KiTS21 and KiTS23 challenges do.

    Where a region is empty in both maps its scores are 1, where it is empty in one they are 0: the challenges' rule.

    Args:
        prediction: label map `(D, H, W)`: 0 background, 1 kidney, 2 tumor, 3 cyst.
        reference: label map of the same shape, on the same grid.
        spacing_mm: distance between voxels, (D, H, W), in mm.
        regions: names out of `kidney_lab.labels.REGIONS`. KiTS19 has no cysts: there `mass` equals `tumor`.

    Returns:
        Value in [0, 1] of every (region, "dice") and (region, "surface_dice"), in the order of `regions`.

    Raises:
        InputError: if the shapes differ, the spacing is not positive, a region is unknown or a label is.
    """
    check_pair(prediction, reference, spacing_mm)
    unknown = [region for region in regions if region not in REGIONS]
    if unknown:
        raise InputError(f"The region {unknown[0]!r} is unknown: choose out of {', '.join(REGIONS)}.")
    box = common_box(prediction, reference)
    predicted, wanted = _labels(prediction[box], "prediction"), _labels(reference[box], "reference")
    scores = {}
    for region in regions:
        inside, target = (np.isin(labels, REGIONS[region]) for labels in (predicted, wanted))
        scores[region, "dice"] = dice(inside, target)
        distances = surface_distances(inside, target, spacing_mm)
        scores[region, "surface_dice"] = surface_dice(distances, TOLERANCES_MM[region])
    return scores


def _labels(array: NDArray[Any], what: str) -> NDArray[np.uint8]:
    """Returns whole, known labels as uint8, whatever number type the file had."""
    labels = array.astype(np.uint8)
    if array.size and (labels.max() > max(LABELS.values()) or not np.array_equal(labels, array)):
        values = np.setdiff1d(array, [0, *LABELS.values()])
        known = ", ".join(f"{value} {name}" for name, value in LABELS.items())
        raise InputError(
            f"The {what} holds the value {values[0]}, but the labels are 0 background, {known}: map them first."
        )
    return labels
