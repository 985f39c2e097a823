"""The official scores of KiTS21 and KiTS23: Dice and surface Dice of the nested regions.

N. Heller et al., "The KiTS21 Challenge", arXiv:2307.01984 ("hierarchical evaluation classes"). The
tolerances of the surface Dice come from the disagreement between annotators and are those of the challenges' own
evaluation (`kidney_lab.metrics.tolerances`).
"""

from collections.abc import Sequence
from typing import Any, Final

from numpy.typing import NDArray

from kidney_lab.geometry import Spacing
from kidney_lab.labels import OFFICIAL_REGIONS
from kidney_lab.metrics.case_scores import Scoring, case_scores
from kidney_lab.metrics.scoring import OFFICIAL_METRICS
from kidney_lab.metrics.tolerances import TOLERANCES_MM

__all__ = ["METRICS", "TOLERANCES_MM", "kits_scores"]

METRICS: Final = OFFICIAL_METRICS


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
    return case_scores(prediction, reference, spacing_mm, Scoring(regions=tuple(regions)))
