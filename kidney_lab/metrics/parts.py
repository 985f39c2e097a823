"""Results of single cases, kept until all of them are there.

An evaluation that is killed goes on where it was, and jobs that each score a shard of the cases meet in one folder:
what is kept is the same for both. A result counts only for the very files and settings that it was made from.
"""

import json
import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import kidney_lab
from kidney_lab.files import write_text
from kidney_lab.metrics.case_scores import Scores, Scoring
from kidney_lab.metrics.pairs import ScoredFiles
from kidney_lab.metrics.strata import Stratum

FORMAT = 1


@dataclass(frozen=True)
class CaseResult:
    """What an evaluation says of one case: its scores, and its row of `strata.csv` where that is wanted."""

    scores: Scores
    strata: dict[str, Stratum] | None = None


class Parts:
    """Results of single cases in a folder, one file each.

    Args:
        folder: made when a result is kept.
        scoring: what is scored.
        strata: whether strata are measured.
    """

    def __init__(self, folder: Path, scoring: Scoring, *, strata: bool) -> None:
        self.folder = folder
        self._settings = {
            "format": FORMAT,
            "version": kidney_lab.__version__,
            "scoring": asdict(scoring),
            "strata": strata,
        }

    def read(self, case: ScoredFiles) -> CaseResult | None:
        """Result of a case; None where there is none, or that of other files or settings."""
        try:
            kept = json.loads(self._file(case.id).read_text(encoding="utf-8"))
            if kept["made_from"] != self._made_from(case):
                return None
            scores = {(region, metric): math.nan if v is None else float(v) for region, metric, v in kept["scores"]}
            return CaseResult(scores, kept["strata"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def gather(self, cases: Sequence[ScoredFiles]) -> dict[str, CaseResult] | None:
        """Results of all cases, in their order; None as long as one is missing."""
        results = {case.id: result for case in cases if (result := self.read(case)) is not None}
        return results if len(results) == len(cases) else None

    def write(self, case: ScoredFiles, result: CaseResult) -> None:
        """Keeps the result of a case; numbers read back to the same bits."""
        rows = [(region, metric, None if math.isnan(v) else v) for (region, metric), v in result.scores.items()]
        kept = {"made_from": self._made_from(case), "scores": rows, "strata": result.strata}
        write_text(self._file(case.id), json.dumps(kept) + "\n")

    def discard(self, cases: Iterable[str]) -> None:
        """Removes the results of some cases, and the folder with the last of them."""
        for case in cases:
            self._file(case).unlink(missing_ok=True)
        with suppress(OSError):  # it is not there, or holds those of other cases
            self.folder.rmdir()

    def _file(self, case: str) -> Path:
        return self.folder / f"{case}.json"

    def _made_from(self, case: ScoredFiles) -> dict[str, Any]:
        files = [[str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns] for path in case.files]
        facts: dict[str, Any] = json.loads(json.dumps({**self._settings, "files": files}))
        return facts
