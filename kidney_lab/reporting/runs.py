"""Run folders, read back: what was run, on what, and how it went; and folders that hold scores alone."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import pandas as pd

from kidney_lab.errors import InputError
from kidney_lab.metrics.strata import read_strata
from kidney_lab.metrics.table import read_metrics

RUN_FOLDER = (
    "A run folder is what `python -m kidney_lab` writes when it trains: it holds config.yaml, run.json and, after the "
    "test phase, metrics.csv; a folder of scores is what task=evaluate writes: metrics.csv and summary.json."
)


UNPROCESSED: Final = "unprocessed"
"""Folder, and name in a report, of the result before post-processing."""


@dataclass(frozen=True)
class ScoredBy:
    """How scores were made, as far as it is known; None is unknown, as in folders that other tools wrote.

    Args:
        surface: what counted as surface: "surfel" or "voxel".
        score: whose rules: "kits23" or "kits19".
        references: folder of the references, resolved.
    """

    surface: str | None = None
    score: str | None = None
    references: Path | None = None

    @classmethod
    def read(cls, file: Path) -> "ScoredBy":
        """Reads `evaluation.json` or `agreement.json`.

        Raises:
            InputError: the file is damaged.
        """
        try:
            record = dict(json.loads(file.read_text(encoding="utf-8")))
            surface, score, references = (record.get(key) for key in ("surface", "score", "references"))
            return cls(surface, score, None if references is None else Path(references).expanduser().resolve())
        except (ValueError, TypeError) as error:
            raise InputError(f"{file} cannot be read: {error}; score the cases again.") from error


TRAINED: Final = ScoredBy(surface="surfel", score="kits23")
"""How training scores its test cases; their references are those of its data."""


@dataclass(frozen=True, eq=False)
class Run:
    """One run folder, or a folder of scores, of which nothing but the scores is known.

    Args:
        path: of the folder.
        name: short, and unlike that of every other run of the same report; says if validation cases were scored.
        record: what `run.json` holds; empty for scores alone.
        config: the composed configuration, YAML; empty for scores alone.
        metrics: `case,region,metric,value` of the cases that were scored, empty before the test phase.
        epochs: `stage,epoch,step` and a column per logged metric, empty before the first epoch.
        strata: what kind of case each case is, see `kidney_lab.metrics.strata`; None where no `strata.csv` says it.
        scored_by: how the scores were made.
        earlier: scores of the same cases on the way to `metrics`, in order: of every stage that the result is made of,
            and of the result before post-processing (`unprocessed`), where that changed a label map.
    """

    path: Path
    name: str
    record: dict[str, Any]
    config: str
    metrics: pd.DataFrame
    epochs: pd.DataFrame
    strata: pd.DataFrame | None
    scored_by: ScoredBy
    earlier: dict[str, pd.DataFrame] = field(default_factory=dict)

    @property
    def scores_only(self) -> bool:
        """Whether this is the work of `task=evaluate`: scores without the training behind them."""
        return not self.record

    @property
    def data(self) -> dict[str, Any]:
        """What the run says of its data; empty if it ended before it had any."""
        return dict(self.record.get("data") or {})

    @property
    def synthesized(self) -> bool:
        """Whether the images are made up, so that scores say nothing about patients."""
        return bool(self.data.get("synthesized"))

    @property
    def scored(self) -> str:
        """The part of the split that was scored: "test", "validation" without any, "evaluated" where none is known."""
        return "evaluated" if self.scores_only else str(self.data.get("scored", "test"))


def read_run(path: Path) -> Run:
    """Reads a run folder, finished or not, or a folder of scores.

    Args:
        path: of the folder.

    Returns:
        The run, under the name that it gave itself; scores alone under the name of their folder.

    Raises:
        InputError: if the folder is neither, or one of its files is damaged.
    """
    if (path / "agreement.json").is_file():
        raise InputError(f"{path} holds how far annotators agree, no run: name it by human={path}.")
    if not (path / "run.json").is_file() and all((path / name).is_file() for name in ("metrics.csv", "summary.json")):
        name = path.resolve().name
        how = _scored_by(path, otherwise=ScoredBy())
        return Run(path, name, {}, "", read_metrics(path), epochs=pd.DataFrame(), strata=_strata(path), scored_by=how)
    for needed in ("config.yaml", "run.json"):
        if not (path / needed).is_file():
            raise InputError(f"{path} is no run folder: it has no {needed}.")
    try:
        record = json.loads((path / "run.json").read_text(encoding="utf-8"))
        epochs = path / "epochs.csv"
        validation = (record.get("data") or {}).get("scored") == "validation"
        return Run(
            path=path,
            name=str(record.get("name") or path.name) + (" (validation)" if validation else ""),
            record=record,
            config=(path / "config.yaml").read_text(encoding="utf-8"),
            metrics=read_metrics(path) if (path / "metrics.csv").is_file() else _no_metrics(),
            epochs=pd.read_csv(epochs, dtype={"stage": str}) if epochs.is_file() else pd.DataFrame(),
            strata=_strata(path),
            scored_by=_scored_by(path, otherwise=TRAINED),
            earlier=_earlier(path, list(record.get("stages") or {})),
        )
    except (ValueError, AttributeError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{path} cannot be read as a run folder: {error}.") from error


def read_runs(paths: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """Reads the run folders among some paths.

    Args:
        paths: files and folders; what is neither a run nor a folder of scores is skipped.

    Returns:
        The runs, each with a name of its own, and one sentence for every path that was skipped.

    Raises:
        InputError: if none is a run.
    """
    runs, skipped = [], []
    for path in paths:
        try:
            runs.append(read_run(path))
        except InputError as error:
            skipped.append(str(error))
    if not runs:
        summary = f"There is nothing to report on: none of the {len(paths)} given paths is a run. {RUN_FOLDER}"
        raise InputError.of(summary, skipped) if skipped else InputError(summary)
    return _told_apart(runs), skipped


def _told_apart(runs: list[Run]) -> list[Run]:
    """Adds to a name that several runs share the overrides that tell them apart, or the folder where these do not."""
    trained = [set(_overrides(run)) for run in runs if not run.scores_only]
    common = set.intersection(*trained) if trained else set()
    named = [_extended(run, ", ".join(o for o in _overrides(run) if o not in common)) for run in runs]
    for distinct in (runs, named):
        if len({run.name for run in distinct}) == len(runs):
            return distinct
    by_folder = [_extended(run, run.path.name) for run in named]
    taken = Counter(run.name for run in by_folder)
    return [run if taken[run.name] == 1 else replace(run, name=str(run.path)) for run in by_folder]


def _overrides(run: Run) -> list[str]:
    return [str(override) for override in run.record.get("overrides") or []]


def _extended(run: Run, addition: str) -> Run:
    return replace(run, name=f"{run.name} ({addition})") if addition else run


def _strata(path: Path) -> pd.DataFrame | None:
    return read_strata(path) if (path / "strata.csv").is_file() else None


def _scored_by(path: Path, *, otherwise: ScoredBy) -> ScoredBy:
    file = path / "evaluation.json"
    return ScoredBy.read(file) if file.is_file() else otherwise


def _earlier(path: Path, stages: Sequence[str]) -> dict[str, pd.DataFrame]:
    folders = {name: path / "stages" / name for name in stages} | {UNPROCESSED: path / UNPROCESSED}
    return {name: read_metrics(folder) for name, folder in folders.items() if (folder / "metrics.csv").is_file()}


def _no_metrics() -> pd.DataFrame:
    return pd.DataFrame({"case": [], "region": [], "metric": [], "value": []}).astype({"value": float})
