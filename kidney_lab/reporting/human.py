"""The human ceiling in tables: how far annotators agree, out of the folder that `task=agreement` writes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from kidney_lab.errors import InputError
from kidney_lab.metrics.table import read_metrics
from kidney_lab.reporting.comparability import measures_surfaces
from kidney_lab.reporting.measured import with_jaccard
from kidney_lab.reporting.provenance import EDITIONS
from kidney_lab.reporting.published_scores import ScoreKey
from kidney_lab.reporting.row_scores import case_values
from kidney_lab.reporting.runs import Run, ScoredBy
from kidney_lab.reporting.statistics import Interval, bootstrap_interval

NAME: Final = "human agreement"
"""Of the row in the tables of scores."""


@dataclass(frozen=True, eq=False)
class HumanAgreement:
    """Annotators scored against each other.

    Args:
        frame: tidy, `case,region,metric,value`.
        scored_by: how they were scored.
        data: name of the dataset; None where the folder does not say it.
    """

    frame: pd.DataFrame
    scored_by: ScoredBy
    data: str | None = None

    @classmethod
    def read(cls, folder: Path) -> "HumanAgreement":
        """Reads the folder.

        Raises:
            InputError: it is not what `task=agreement` writes.
        """
        missing = [name for name in ("agreement.json", "metrics.csv") if not (folder / name).is_file()]
        if missing:
            raise InputError(
                f"human={folder} holds no agreement of annotators (no {' and no '.join(missing)}): name a folder that "
                "task=agreement data=kits23 wrote."
            )
        scored_by = ScoredBy.read(folder / "agreement.json")  # which tells of a damaged file
        data = json.loads((folder / "agreement.json").read_text(encoding="utf-8")).get("data")
        return cls(read_metrics(folder), scored_by, None if data is None else str(data))

    def of_regions(self, regions: Sequence[str]) -> pd.DataFrame:
        """Rows of the regions that runs were scored on."""
        return self.frame[self.frame["region"].isin(regions)]

    def scores(self, keys: Sequence[ScoreKey]) -> dict[ScoreKey, Interval]:
        """Means over the annotators' cases with bootstrap intervals.

        Args:
            keys: of a table; those of no cases, and those that they were not scored by, are left out.
        """
        frame = with_jaccard(self.frame)
        by_case = {key: case_values(frame, key, keys) for key in keys if key[2] == "case"}
        return {key: bootstrap_interval(values.to_numpy()) for key, values in by_case.items() if values.notna().any()}

    def words(self, runs: Sequence[Run]) -> str:
        """Sentence that says what the row is, and what it is not."""
        cases = set(self.frame["case"])
        strangers = list(dict.fromkeys(name for run in runs if not self._shares_patients(name := run.data.get("name"))))
        scored = {case for run in runs if run.data.get("name") not in strangers for case in run.metrics["case"]}
        others = f"; those of {', '.join(map(str, strangers))} are no patients of {self.data}" if strangers else ""
        return (
            f"{NAME.capitalize()}: annotators against each other on {len(cases)} cases, {len(cases & scored)} of them "
            f"among those scored here{others}. They drew the contours of lesions that had been located for them, so "
            "this is how far contours agree, not detection; it takes no part in the tests."
            f"{self._other_surfaces(runs)}"
        )

    def _shares_patients(self, data: object) -> bool:
        """Whether a case of a dataset is the patient of the same id here; it is taken to be where either is unknown."""
        return None in (data, self.data) or data == self.data or {data, self.data} <= set(EDITIONS)

    def _other_surfaces(self, runs: Sequence[Run]) -> str:
        """Sentence on runs whose distances are not comparable with those of the annotators; "" where all are."""
        metrics, surface = set(self.frame["metric"]), self.scored_by.surface
        unlike = [
            run.name
            for run in runs
            if surface is not None
            and run.scored_by.surface not in (None, surface)
            and measures_surfaces(metrics & set(run.metrics["metric"]))
        ]
        if not unlike:
            return ""
        return (
            f" Its scores of surfaces were made with surface={surface}, those of {', '.join(unlike)} with another, so "
            "they cannot be compared."
        )
