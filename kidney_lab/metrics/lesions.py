"""Detection of single lesions: which tumors of the reference a prediction found, and what it claimed beside them.

A lesion is a connected component of a region (`kidney_lab.metrics.components`) that is no speck. Lesions of the
reference and of the prediction are matched one to one: the pair of largest Dice first, then the next among those left,
where a pair must overlap and reach `min_dice`. Hence of two tumors that a prediction merges one is found and one
missed, and of two parts into which it splits a tumor one finds it and one is a false positive; `covered` tells both
from tumors without any overlap. (A. Reinke et al., "Metrics reloaded", Nature Methods 2024,
doi:10.1038/s41592-023-02151-z, call this instance detection with greedy matching by an overlap criterion.)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kidney_lab.errors import InputError
from kidney_lab.geometry import Spacing
from kidney_lab.labels import REGIONS
from kidney_lab.metrics.components import SPECK_ML, Component, connected_components
from kidney_lab.metrics.surface import check_pair, common_box


@dataclass(frozen=True)
class Lesion:
    """One lesion of a reference or a prediction, and how the other one sees it.

    Args:
        volume_ml: its volume.
        diameter_mm: its largest axial diameter, from voxel edge to voxel edge.
        dice: with the lesion it is matched to, in (0, 1]; NaN where there is none.
        covered: share of its voxels, in [0, 1], that lie in any lesion of the other.
    """

    volume_ml: float
    diameter_mm: float
    dice: float
    covered: float

    @property
    def matched(self) -> bool:
        """Whether a lesion of the other belongs to it."""
        return not np.isnan(self.dice)


@dataclass(frozen=True)
class Detection:
    """Lesions of one region in one case.

    Args:
        reference: lesions to be found, largest first.
        predicted: lesions that were claimed, largest first.
        reference_specks: components of the reference too small to be lesions, which play no part.
        predicted_specks: the same in the prediction.
    """

    reference: tuple[Lesion, ...]
    predicted: tuple[Lesion, ...]
    reference_specks: int
    predicted_specks: int

    @property
    def found(self) -> tuple[Lesion, ...]:
        """Lesions of the reference that have a match."""
        return tuple(lesion for lesion in self.reference if lesion.matched)

    @property
    def missed(self) -> tuple[Lesion, ...]:
        """Lesions of the reference without a match."""
        return tuple(lesion for lesion in self.reference if not lesion.matched)

    @property
    def false_positives(self) -> tuple[Lesion, ...]:
        """Predicted lesions without a match."""
        return tuple(lesion for lesion in self.predicted if not lesion.matched)

    @property
    def sensitivity(self) -> float:
        """Share of the reference's lesions that were found; NaN where there are none."""
        return len(self.found) / len(self.reference) if self.reference else np.nan

    @property
    def dice(self) -> float:
        """Mean Dice of the matched lesions; NaN where none is."""
        return float(np.mean([lesion.dice for lesion in self.found])) if self.found else np.nan


LESION_METRICS: Final[Mapping[str, Callable[[Detection], float]]] = MappingProxyType(
    {
        "lesion_count": lambda lesions: len(lesions.reference),
        "lesions_found": lambda lesions: len(lesions.found),
        "lesion_sensitivity": lambda lesions: lesions.sensitivity,
        "lesion_false_positives": lambda lesions: len(lesions.false_positives),
        "lesion_dice": lambda lesions: lesions.dice,
    }
)
"""What `lesion_scores` gives of each region."""


def detect_lesions(
    prediction: NDArray[Any],
    reference: NDArray[Any],
    spacing_mm: Spacing,
    *,
    min_dice: float = 0.0,
    min_volume_ml: float = SPECK_ML,
) -> Detection:
    """Matches the lesions of a prediction with those of a reference.

    Args:
        prediction: mask `(D, H, W)`; nonzero is foreground.
        reference: mask of the same shape.
        spacing_mm: distance between voxels, (D, H, W), in mm.
        min_dice: Dice, in [0, 1], that a pair must reach to match; with 0 one common voxel is enough.
        min_volume_ml: components that are smaller are specks, in both masks; 0 takes all of them for lesions.

    Returns:
        The lesions of both, each with its match; empty where a mask is.

    Raises:
        InputError: if the shapes differ, are not three-dimensional, the spacing is not positive, or `min_dice` is out
            of range.
    """
    check_pair(prediction, reference, spacing_mm)
    if not 0 <= min_dice <= 1:
        raise InputError(f"min_dice={min_dice} is no Dice: give a number from 0 (any overlap) to 1 (equal).")
    box = common_box(prediction, reference)
    wanted, reference_specks = _lesions_and_specks(reference[box], spacing_mm, min_volume_ml)
    claimed, predicted_specks = _lesions_and_specks(prediction[box], spacing_mm, min_volume_ml)
    of_reference, of_prediction = (_numbered(lesions, reference[box].shape) for lesions in (wanted, claimed))
    common = _common_voxels(of_reference, of_prediction)
    dice = {(i, j): 2 * n / (wanted[i].mask.sum() + claimed[j].mask.sum()) for (i, j), n in common.items()}
    matches = _match({pair: value for pair, value in dice.items() if value >= min_dice})
    return Detection(
        reference=_described(wanted, {i: dice[i, j] for i, j in matches}, of_prediction > 0),
        predicted=_described(claimed, {j: dice[i, j] for i, j in matches}, of_reference > 0),
        reference_specks=reference_specks,
        predicted_specks=predicted_specks,
    )


def lesion_scores(
    prediction: NDArray[Any],
    reference: NDArray[Any],
    spacing_mm: Spacing,
    regions: Sequence[str] = ("tumor",),
    *,
    min_dice: float = 0.0,
    min_volume_ml: float = SPECK_ML,
) -> dict[tuple[str, str], float]:
    """Scores the detection of lesions in a label map, as rows of `metrics.csv`.

    The mean of `lesion_sensitivity` over cases weighs every case alike; the sum of `lesions_found` over that of
    `lesion_count` weighs every lesion alike. The mean of `lesion_false_positives` is the number per case.

    Args:
        prediction: label map `(D, H, W)`: 0 background, 1 kidney, 2 tumor, 3 cyst.
        reference: label map of the same shape, on the same grid.
        spacing_mm: distance between voxels, (D, H, W), in mm.
        regions: names out of `kidney_lab.labels.REGIONS`.
        min_dice: as `detect_lesions`.
        min_volume_ml: as `detect_lesions`.

    Returns:
        Value of every (region, metric), metrics as in `LESION_METRICS`: counts, the share of lesions found (NaN without
        lesions) and the mean Dice of those found (NaN if none is).

    Raises:
        InputError: as `detect_lesions`, and for an unknown region.
    """
    unknown = [region for region in regions if region not in REGIONS]
    if unknown:
        raise InputError(f"The region {unknown[0]!r} is unknown: choose out of {', '.join(REGIONS)}.")
    scores: dict[tuple[str, str], float] = {}
    for region in regions:
        claimed, wanted = (np.isin(labels, REGIONS[region]) for labels in (prediction, reference))
        lesions = detect_lesions(claimed, wanted, spacing_mm, min_dice=min_dice, min_volume_ml=min_volume_ml)
        scores |= {(region, metric): float(value(lesions)) for metric, value in LESION_METRICS.items()}
    return scores


def _lesions_and_specks(mask: NDArray[Any], spacing_mm: Spacing, min_volume_ml: float) -> tuple[list[Component], int]:
    components = connected_components(mask, spacing_mm)
    lesions = [component for component in components if component.volume_ml >= min_volume_ml]
    return lesions, len(components) - len(lesions)


def _numbered(components: Sequence[Component], shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Array in which every voxel holds the number of its component, from 1; 0 elsewhere."""
    numbers = np.zeros(shape, np.int32)
    for number, component in enumerate(components, start=1):
        numbers[component.box][component.mask] = number
    return numbers


def _common_voxels(wanted: NDArray[np.int32], claimed: NDArray[np.int32]) -> dict[tuple[int, int], int]:
    """Number of voxels that two components share, by their indices from 0; only those that share any."""
    both = (wanted > 0) & (claimed > 0)
    pairs, counts = np.unique(np.stack([wanted[both], claimed[both]]), axis=1, return_counts=True)
    return {(int(i) - 1, int(j) - 1): int(n) for i, j, n in zip(*pairs, counts, strict=True)}


def _match(dice: Mapping[tuple[int, int], float]) -> list[tuple[int, int]]:
    """Takes pairs one to one, the largest Dice first; of equal ones that of the larger lesion."""
    of_wanted: dict[int, int] = {}
    of_claimed: dict[int, int] = {}
    for i, j in sorted(dice, key=lambda pair: (-dice[pair], pair)):
        if i not in of_wanted and j not in of_claimed:
            of_wanted[i], of_claimed[j] = j, i
    return list(of_wanted.items())


def _described(
    components: Sequence[Component], dice: Mapping[int, float], other: NDArray[np.bool_]
) -> tuple[Lesion, ...]:
    """Adds to each component its Dice, where it has one, and the share of it that lies in the other's lesions."""
    return tuple(
        Lesion(
            volume_ml=component.volume_ml,
            diameter_mm=component.diameter_mm,
            dice=float(dice.get(index, np.nan)),
            covered=float(other[component.box][component.mask].mean()),
        )
        for index, component in enumerate(components)
    )
