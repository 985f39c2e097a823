"""Dice of whole validation cases, gathered over ranks."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from kidney_lab.methods.output import region_mask
from kidney_lab.process_group import of_all


class CaseScores:
    """Collects Dice per case and region on the stage's own grid.

    A coarse stand-in for the official score, to choose a checkpoint by: a region that the reference lacks is left out
    of that case, so that no value is made up.

    Args:
        regions: names.
    """

    def __init__(self, regions: Sequence[str]) -> None:
        self.regions = tuple(regions)
        self._scores: dict[str, dict[str, float]] = {}

    def add(self, case: str, predicted: Tensor, reference: Tensor) -> None:
        """Scores one case.

        Args:
            case: id.
            predicted: `(D, H, W)` label map.
            reference: `(D, H, W)` label map.
        """
        self._scores[case] = {name: _dice(predicted, reference, name) for name in self.regions}

    def gather(self) -> dict[str, float]:
        """Mean over the cases of all ranks: `<region>_dice` and `mean_dice`; starts the next collection."""
        scores = [score for part in of_all(self._scores) for score in part.values()]
        self._scores = {}
        means = {f"{name}_dice": _mean([score[name] for score in scores]) for name in self.regions}
        return {**means, "mean_dice": _mean(list(means.values()))}


def _dice(predicted: Tensor, reference: Tensor, region: str) -> float:
    a, b = region_mask(predicted, region), region_mask(reference, region)
    size = int(b.sum())
    return 2.0 * int((a & b).sum()) / (int(a.sum()) + size) if size else float("nan")


def _mean(values: list[float]) -> float:
    defined = [value for value in values if not np.isnan(value)]
    return float(torch.tensor(defined, dtype=torch.float64).mean()) if defined else float("nan")
