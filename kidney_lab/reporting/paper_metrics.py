"""Scores that papers' tables have beside the metrics of a case: what they are called, and what they are made of.

`kidney_lab.reporting.derived_scores` and `kidney_lab.reporting.training_scores` measure them.
"""

from dataclasses import dataclass
from typing import Final, Literal

from kidney_lab.metrics.ambiguity import BLURRY, CRISP
from kidney_lab.metrics.strata import STRATA

Better = Literal["higher", "lower", "neither"]

MEAN_DICE: Final = "mean_dice"
"""Mean of a case's Dice over those regions whose Dice the same table publishes."""

BORDER_METRICS: Final = {BLURRY: "dice_blurry_edges", CRISP: "dice_crisp_edges"}
"""Dice of a region in the cases where its border is such."""

SMALL: Final = {column: STRATA[column][True] for column in ("under_10_mm", "under_2_cm", "under_10_cm3")}
"""Columns of `strata.csv` that say of a case with tumors whether they are small, and the stratum's name if so."""

_OVERLAP: Final = {"dice": "Dice", "jaccard": "Jaccard index (IoU)"}

STRATUM_METRICS: Final = {f"{metric}_{column}": (metric, column) for metric in _OVERLAP for column in SMALL}
"""Metrics over the cases with small tumors alone: the metric and the column."""

MISSED: Final = "missed_small_tumors"
"""Share of the cases with tumors under 10 mm in which none was found; section 4.2.1 of Lin and Chen counts so."""

MISSED_STRATUM: Final = "under_10_mm"

TRAINING: Final = {
    "train_accuracy": "train/accuracy",
    "train_background_accuracy": "train/background_accuracy",
    "val_accuracy": "val_patch/accuracy",
    "val_background_accuracy": "val_patch/background_accuracy",
    "train_loss": "train/loss",
    "val_loss": "val_patch/loss",
}
"""Scores of the training itself: columns of `epochs.csv`."""

TRIVIAL_ACCURACIES: Final = {
    "pixel_accuracy": "background_accuracy",
    "train_accuracy": "train_background_accuracy",
    "val_accuracy": "val_background_accuracy",
}
"""Every pixel accuracy, and what a prediction that finds nothing reaches on the same pixels."""

GFLOPS: Final = "gflops"
PARAMETERS: Final = "parameters_in_millions"
SECONDS: Final = "seconds_per_case"


@dataclass(frozen=True)
class Gain:
    """By how much a metric of one row is larger than that of another, case by case, without any division.

    Args:
        metric: that is subtracted.
        of: row that this row is subtracted from; None: this row is the first.
        over: row that is subtracted from this row; None: this row is the second.
    """

    metric: str
    of: str | None = None
    over: str | None = None


GAINS: Final = {
    **{f"{name}_gain_of_improved_v_net": Gain(name, of="Improved V-Net") for name in ("dice", PARAMETERS, SECONDS)},
    **{f"{metric}_gain_{column}": Gain(name, over="V-Net") for name, (metric, column) in STRATUM_METRICS.items()},
}
"""Gains that papers print in the place of a comparator's scores."""

TITLES: Final[dict[str, tuple[str, Better]]] = {
    "dice_blurry_edges": ("Dice, blurry borders", "higher"),
    "dice_crisp_edges": ("Dice, crisp borders", "higher"),
    **{name: (f"{_OVERLAP[metric]}, {SMALL[column]}", "higher") for name, (metric, column) in STRATUM_METRICS.items()},
    MISSED: (f"Share of cases without any tumor found, {SMALL[MISSED_STRATUM]}", "lower"),
    "dice_gain_of_improved_v_net": ("Dice, by how much that of Improved V-Net is larger", "neither"),
    f"{PARAMETERS}_gain_of_improved_v_net": ("Parameters (M), by how many more Improved V-Net has", "neither"),
    f"{SECONDS}_gain_of_improved_v_net": ("Time per case (s), by how much longer Improved V-Net takes", "neither"),
    **{
        f"{metric}_gain_{column}": (f"{_OVERLAP[metric]}, {SMALL[column]}, gain over V-Net", "higher")
        for metric, column in STRATUM_METRICS.values()
    },
    "train_accuracy": ("Pixel accuracy in training", "higher"),
    "train_background_accuracy": ("Pixel accuracy in training of an empty prediction", "neither"),
    "val_accuracy": ("Pixel accuracy in validation", "higher"),
    "val_background_accuracy": ("Pixel accuracy in validation of an empty prediction", "neither"),
    "train_loss": ("Loss in training", "lower"),
    "val_loss": ("Loss in validation", "lower"),
    GFLOPS: ("Multiply-adds of one pass (G)", "lower"),
    PARAMETERS: ("Parameters (M)", "lower"),
    SECONDS: ("Time per case (s)", "lower"),
}
"""Titles with units of what is no metric of a case's masks alone, and which values of it are better."""
