"""The scores of one case: every wanted metric of every wanted region of a predicted label map, in one pass.

Both label maps are cut to the box that holds all labels of either, each region becomes two masks there, and whatever
the metrics of a region share is computed once (`kidney_lab.metrics.measurement`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from kidney_lab.errors import InputError
from kidney_lab.geometry import Spacing
from kidney_lab.labels import LABELS, OFFICIAL_REGIONS, REGIONS
from kidney_lab.metrics.kits19 import kits19_scores
from kidney_lab.metrics.lesions import LESION_METRICS
from kidney_lab.metrics.measurement import Measurement
from kidney_lab.metrics.own import short_name
from kidney_lab.metrics.scoring import OFFICIAL_METRICS, PER_SLICE, choose_metrics, compute_of
from kidney_lab.metrics.slices import mean_of, occupied_slices
from kidney_lab.metrics.surface import Surface, check_pair, common_box
from kidney_lab.metrics.tolerances import TOLERANCES_MM

Level = Literal["case", "slice"]
Score = Literal["kits23", "kits19"]
Scores = dict[tuple[str, str], float]
"""Value of every (region, metric); NaN is undefined."""

SCORED_REGIONS: Final[Mapping[Score, tuple[str, ...]]] = {
    "kits23": OFFICIAL_REGIONS,
    "kits19": ("kidney_and_mass", "tumor"),
}
"""Regions that each challenge scores; KiTS21's score is that of KiTS23."""

LESION_REGIONS: Final = ("mass", "tumor", "cyst")
"""Regions whose connected components are lesions."""

_HIGHEST = max(LABELS.values())


@dataclass(frozen=True)
class Scoring:
    """What is scored of a case.

    Args:
        regions: names out of `kidney_lab.labels.REGIONS`.
        metrics: as `kidney_lab.metrics.scoring.choose_metrics` reads them.
        surface: what counts as surface: "surfel" (the challenges') or "voxel" (MONAI's and MedPy's).
        level: "slice" adds to each metric of the case its mean over the axial slices that hold the region, under the
            metric's name and "_per_slice".
        lesions: add the metrics of single lesions for the regions among `LESION_REGIONS`.
        score: "kits19" adds its score, the mean Dice of kidney and tumor, as the metric "dice" of the region "mean".

    Raises:
        InputError: if a name is unknown, or there is no region.
    """

    regions: tuple[str, ...] = OFFICIAL_REGIONS
    metrics: tuple[str, ...] = OFFICIAL_METRICS
    surface: Surface = "surfel"
    level: Level = "case"
    lesions: bool = False
    score: Score = "kits23"

    def __post_init__(self) -> None:
        choose_regions(self.regions)
        choose_metrics(self.metrics)
        for key, allowed in (("surface", Surface), ("level", Level), ("score", Score)):
            if (value := getattr(self, key)) not in get_args(allowed):
                raise InputError(f"{key}={value} is unknown: choose {' or '.join(get_args(allowed))}.")
        if self.lesions and not set(self.regions) & set(LESION_REGIONS):
            raise InputError(
                f"lesions=true needs a region that has lesions, but regions={list(self.regions)}: add one of "
                f"{', '.join(LESION_REGIONS)}."
            )


def choose_regions(chosen: str | Sequence[str]) -> tuple[str, ...]:
    """Reads the setting `regions=`: one name or several.

    Raises:
        InputError: a name is unknown, or there is none.
    """
    if not isinstance(chosen, Sequence):
        raise InputError(f"regions={chosen} names no regions: choose out of {', '.join(REGIONS)}.")
    names = (chosen,) if isinstance(chosen, str) else tuple(dict.fromkeys(chosen))
    unknown = [name for name in names if name not in REGIONS]
    if unknown:
        raise InputError(f"The region {unknown[0]!r} is unknown: choose out of {', '.join(REGIONS)}.")
    if not names:
        raise InputError(f"The list of regions is empty: choose out of {', '.join(REGIONS)}.")
    return names


def case_scores(
    prediction: NDArray[Any], reference: NDArray[Any], spacing_mm: Spacing, scoring: Scoring = Scoring()
) -> Scores:
    """Scores one predicted label map.

    Args:
        prediction: label map `(D, H, W)`: 0 background, 1 kidney, 2 tumor, 3 cyst.
        reference: label map of the same shape, on the same grid.
        spacing_mm: distance between voxels, (D, H, W), in mm.
        scoring: what is wanted.

    Returns:
        Value of every (region, metric), region after region, metrics in the order of `scoring`; NaN is undefined.

    Raises:
        InputError: if the shapes differ, are not three-dimensional, the spacing is not positive, or a label is unknown.
    """
    check_pair(prediction, reference, spacing_mm)
    box = common_box(prediction, reference)
    predicted = whole_labels(np.ascontiguousarray(prediction[box]), "The prediction")
    wanted = whole_labels(np.ascontiguousarray(reference[box]), "The reference")
    scores: Scores = {}
    for region in scoring.regions:
        masks = Measurement(
            prediction=np.isin(predicted, REGIONS[region]),
            reference=np.isin(wanted, REGIONS[region]),
            spacing_mm=spacing_mm,
            tolerance_mm=TOLERANCES_MM[region],
            voxels=prediction.size,
            surface=scoring.surface,
        )
        names = scoring.metrics
        if scoring.lesions and region in LESION_REGIONS:
            names = (*names, *LESION_METRICS)
        scores |= {(region, short_name(name)): compute_of(name)(masks) for name in names}
        if scoring.level == "slice":
            slices = list(_slices(masks, prediction.shape[1] * prediction.shape[2]))
            for name in scoring.metrics:
                value = mean_of([compute_of(name)(plane) for plane in slices]).mean
                scores[region, f"{short_name(name)}{PER_SLICE}"] = value
    return scores | kits19_scores(predicted, wanted) if scoring.score == "kits19" else scores


def whole_labels(array: NDArray[Any], what: str) -> NDArray[np.uint8]:
    """Returns the labels as uint8, whatever number type the file had.

    Args:
        array: of any number type.
        what: the array is, to begin the message with.

    Returns:
        The same values; no copy of an array of uint8.

    Raises:
        InputError: a value is no label, or no whole number.
    """
    with np.errstate(invalid="ignore"):  # NaN becomes some number, and is told below
        labels = array.astype(np.uint8, copy=False)
    whole = array.dtype == np.uint8 or np.array_equal(labels, array)
    if array.size and (not whole or labels.max() > _HIGHEST):
        values = [f"{value:g}" for value in np.setdiff1d(array, [0, *LABELS.values()])[:5]]
        known = ", ".join(f"{value} {name}" for name, value in LABELS.items())
        raise InputError(
            f"{what} holds the value{'s' if len(values) > 1 else ''} {', '.join(values)}, but the labels are "
            f"0 background, {known}: map them first."
        )
    return labels


def _slices(masks: Measurement, voxels: int) -> Iterator[Measurement]:
    for prediction, reference in occupied_slices(masks.prediction, masks.reference):
        yield Measurement(
            prediction=prediction,
            reference=reference,
            spacing_mm=masks.spacing_mm,
            tolerance_mm=masks.tolerance_mm,
            voxels=voxels,
            surface=masks.surface,
            in_plane=True,
        )
