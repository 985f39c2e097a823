"""The table of metrics: every name that `metrics=` takes and `metrics.csv` holds, with its unit and direction.

A metric is a function of a `Measurement`, so that all metrics of a region share one count of voxels, one computation of
distances and one matching of lesions. Formulas, and what they give for empty masks, stand where they are defined:
`overlap`, `volume`, `surface`, `distances` and `lesions` in `kidney_lab.metrics`.

Metrics that are not of one region (`generalized_dice`) or that need probabilities (`expected_calibration_error`) are
functions for Python alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal

from kidney_lab.errors import InputError
from kidney_lab.metrics import overlap
from kidney_lab.metrics.distances import average_symmetric_surface_distance, hausdorff_distance
from kidney_lab.metrics.lesions import LESION_METRICS
from kidney_lab.metrics.measurement import Measurement
from kidney_lab.metrics.overlap import Confusion
from kidney_lab.metrics.own import import_metric, is_path, short_name
from kidney_lab.metrics.surface import SurfaceDistances, surface_dice
from kidney_lab.metrics.volume import false_positive_ml, relative_difference

Better = Literal["higher", "lower", "zero", "neither"]
"""Which values are better: large ones, small ones, those near zero, or none, where the number only describes."""

METRICS_VERSION: Final = 1
"""Of the definitions of all metrics; raised when one of them changes, so that scores of two are not compared."""

PER_SLICE: Final = "_per_slice"
"""Ends the name of a metric that is the mean over the axial slices that hold the region."""


@dataclass(frozen=True)
class Metric:
    """One metric of one region.

    Args:
        title: in words, for tables.
        unit: "" for shares and counts of lesions, "voxels", "mm" or "ml".
        better: which values are better.
        needs: what it is made of; "surfaces" take the time, "lesions" are of tumors and cysts alone.
        symmetric: whether exchanging prediction and reference changes nothing.
        compute: value of a measurement; NaN where undefined.
        of_counts: the same of voxels that were counted over several cases, see `kidney_lab.metrics.pooled`; None where
            more than `COUNTS` is needed, and for these themselves.
    """

    title: str
    unit: str
    better: Better
    needs: Literal["voxels", "surfaces", "lesions"]
    symmetric: bool
    compute: Callable[[Measurement], float]
    of_counts: Callable[[Confusion], float] | None = None


def _counted(
    title: str, function: Callable[[Confusion], float], *, better: Better = "higher", symmetric: bool = False
) -> Metric:
    return Metric(title, "", better, "voxels", symmetric, lambda masks: function(masks.counts), function)


def _count(title: str, function: Callable[[Confusion], float], *, symmetric: bool) -> Metric:
    return Metric(title, "voxels", "neither", "voxels", symmetric, lambda masks: function(masks.counts))


def _measured(title: str, function: Callable[[SurfaceDistances], float]) -> Metric:
    return Metric(title, "mm", "lower", "surfaces", True, lambda masks: function(masks.distances))


def _detected(title: str, name: str, better: Better) -> Metric:
    return Metric(title, "", better, "lesions", False, lambda masks: float(LESION_METRICS[name](masks.lesions)))


METRIC_TABLE: Final[Mapping[str, Metric]] = MappingProxyType(
    {
        "dice": _counted("Dice", overlap.dice, symmetric=True),
        "surface_dice": Metric(
            "Surface Dice", "", "higher", "surfaces", True, lambda m: surface_dice(m.distances, m.tolerance_mm)
        ),
        "jaccard": _counted("Jaccard index (IoU)", overlap.jaccard, symmetric=True),
        "sensitivity": _counted("Sensitivity (recall)", overlap.sensitivity),
        "specificity": _counted("Specificity", overlap.specificity),
        "precision": _counted("Precision", overlap.precision),
        "f1": _counted("F1", overlap.f1, symmetric=True),
        "pixel_accuracy": _counted("Pixel accuracy", overlap.pixel_accuracy, symmetric=True),
        "background_accuracy": _counted(
            "Pixel accuracy of an empty prediction", overlap.background_accuracy, better="neither"
        ),
        "true_positives": _count("True positives", lambda counts: counts.tp, symmetric=True),
        "false_positives": _count("False positives", lambda counts: counts.fp, symmetric=False),
        "false_negatives": _count("False negatives", lambda counts: counts.fn, symmetric=False),
        "true_negatives": _count("True negatives", lambda counts: counts.tn, symmetric=True),
        "rvd": _counted("Relative volume difference", relative_difference, better="zero"),
        "false_positive_volume": Metric(
            "Falsely positive volume",
            "ml",
            "lower",
            "voxels",
            False,
            lambda m: false_positive_ml(m.counts, m.spacing_mm),
        ),
        "assd": _measured("Average symmetric surface distance", average_symmetric_surface_distance),
        "hd": _measured("Hausdorff distance", hausdorff_distance),
        "hd95": _measured("Hausdorff distance, 95th percentile", lambda d: hausdorff_distance(d, percentile=95)),
        "lesion_count": _detected("Lesions in the reference", "lesion_count", "neither"),
        "lesions_found": _detected("Lesions found", "lesions_found", "higher"),
        "lesion_sensitivity": _detected("Sensitivity for lesions", "lesion_sensitivity", "higher"),
        "lesion_false_positives": _detected("Falsely positive lesions", "lesion_false_positives", "lower"),
        "lesion_dice": _detected("Dice of found lesions", "lesion_dice", "higher"),
    }
)
"""Every metric by its name, in the order of tables."""

COUNTS: Final = ("true_positives", "false_positives", "false_negatives", "true_negatives")
"""Metrics that are the counts of voxels themselves, in the order of `Confusion`: what pooled scores are made of."""

OFFICIAL_METRICS: Final = ("dice", "surface_dice")
MASK_METRICS: Final = tuple(name for name in METRIC_TABLE if name not in LESION_METRICS)


def choose_metrics(chosen: str | Sequence[str]) -> tuple[str, ...]:
    """Reads the setting `metrics=`.

    Args:
        chosen: "official" (dice and surface_dice), "all" (of masks), or one or several names; a metric of the user's
            own by its import path, see `kidney_lab.metrics.own`.

    Returns:
        Names, each once, in the order given.

    Raises:
        InputError: a name is unknown, two metrics would have the same name in `metrics.csv`, or there is none.

    >>> choose_metrics("official"), choose_metrics(["hd95", "dice"])
    (('dice', 'surface_dice'), ('hd95', 'dice'))
    """
    groups = {"official": OFFICIAL_METRICS, "all": MASK_METRICS}
    if isinstance(chosen, str):
        return groups[chosen] if chosen in groups else choose_metrics([chosen])
    choice = f"choose official, all, or a list out of {', '.join(MASK_METRICS)}."
    if not isinstance(chosen, Sequence):
        raise InputError(f"metrics={chosen} names no metrics: {choice}")
    unknown = [name for name in chosen if name not in MASK_METRICS and not is_path(name)]
    if unknown:
        hint = " here (lesions=true brings it)" if unknown[0] in LESION_METRICS else ""
        raise InputError(f"The metric {unknown[0]!r} is unknown{hint}: {choice}")
    if not chosen:
        raise InputError(f"The list of metrics is empty: {choice}")
    names = tuple(dict.fromkeys(chosen))
    _check_own(names)
    return names


def compute_of(name: str) -> Callable[[Measurement], float]:
    """The function that computes a metric which `choose_metrics` allows, or one of lesions."""
    return import_metric(name) if is_path(name) else METRIC_TABLE[name].compute


def _check_own(names: Sequence[str]) -> None:
    """Makes sure that the user's own metrics can be imported, and told from the others in `metrics.csv`."""
    for path in filter(is_path, names):
        import_metric(path)
        short = short_name(path)
        if short in METRIC_TABLE or [short_name(name) for name in names].count(short) > 1:
            raise InputError(
                f"The metric {path!r} would be a second {short} in metrics.csv: name the function otherwise."
            )


def find_metric(name: str) -> Metric | None:
    """Looks up the name of a metric as it stands in `metrics.csv`.

    Args:
        name: such as "hd95" or "hd95_per_slice".

    Returns:
        Its row of the table, where a mean over slices says so in its title; None for a metric of the user's own.
    """
    metric = METRIC_TABLE.get(name.removesuffix(PER_SLICE))
    if metric is None or not name.endswith(PER_SLICE):
        return metric
    return replace(metric, title=f"{metric.title}, mean over slices")
