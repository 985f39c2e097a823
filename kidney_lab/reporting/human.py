"""The human ceiling in tables: how far annotators agree, out of the folder that `task=agreement` writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from kidney_lab.errors import InputError
from kidney_lab.metrics.table import read_metrics
from kidney_lab.reporting.runs import Run

NAME: Final = "human agreement"
"""Of the row in the tables of scores."""


@dataclass(frozen=True, eq=False)
class HumanAgreement:
    """Annotators scored against each other; `frame` is tidy, `case,region,metric,value`."""

    frame: pd.DataFrame

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
        return cls(read_metrics(folder))

    def of_regions(self, regions: Sequence[str]) -> pd.DataFrame:
        """Rows of the regions that runs were scored on."""
        return self.frame[self.frame["region"].isin(regions)]

    def words(self, runs: Sequence[Run]) -> str:
        """Sentence that says what the row is, and what it is not."""
        cases = set(self.frame["case"])
        scored = {case for run in runs for case in run.metrics["case"]}
        return (
            f"{NAME.capitalize()}: annotators against each other on {len(cases)} cases, {len(cases & scored)} of them "
            "among those scored here. They drew the contours of lesions that had been located for them, so this is how "
            "far contours agree, not detection; it takes no part in the tests."
        )
