"""Run folders, read back: what was run, on what, and how it went; and folders that hold scores alone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import pandas as pd
import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from kidney_lab.errors import InputError
from kidney_lab.metrics.strata import read_strata
from kidney_lab.metrics.table import read_metrics
from kidney_lab.reporting.run_names import told_apart
from kidney_lab.wording import counted

RUN_FOLDER = (
    "A run folder is what `python -m kidney_lab` writes when it trains: it holds config.yaml, run.json and, after the "
    "test phase, metrics.csv; a folder of scores is what task=evaluate writes: metrics.csv and summary.json."
)


_ENSEMBLE: Final = "kidney_lab.inference.ensemble.Ensemble"

UNPROCESSED: Final = "unprocessed"
"""Folder, and name in a report, of the result before post-processing."""

_VALIDATION: Final = " (validation)"

_UNRECORDED: Final = 1
"""Version of the metrics of scores that do not say it: none did before it was raised."""


@dataclass(frozen=True)
class ScoredBy:
    """How scores were made, as far as it is known; None is unknown, as in folders that other tools wrote.

    Args:
        surface: what counted as surface: "surfel" or "voxel".
        score: whose rules: "kits23" or "kits19".
        references: folder of the references, resolved.
        version: of the definitions of the metrics, see `kidney_lab.metrics.scoring.METRICS_VERSION`.
    """

    surface: str | None = None
    score: str | None = None
    references: Path | None = None
    version: int = _UNRECORDED

    @classmethod
    def read(cls, file: Path) -> "ScoredBy":
        """Reads `evaluation.json` or `agreement.json`.

        Raises:
            InputError: the file is damaged.
        """
        try:
            record = dict(json.loads(file.read_text(encoding="utf-8")))
            surface, score, references = (record.get(key) for key in ("surface", "score", "references"))
            folder = None if references is None else Path(references).expanduser().resolve()
            return cls(surface, score, folder, int(record.get("metrics_version", _UNRECORDED)))
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
        settings: the same, read.
        metrics: `case,region,metric,value` of the cases that were scored, empty before the test phase.
        epochs: `stage,epoch,step` and a column per logged metric, empty before the first epoch.
        strata: what kind of case each case is, see `kidney_lab.metrics.strata`; None where no `strata.csv` says it.
        scored_by: how the scores were made.
        earlier: scores of the same cases on the way to `metrics`, in order: of every stage that the result is made of,
            of other runs that are members of it (by number and name), and of the result before post-processing
            (`unprocessed`), where that changed a label map.
    """

    path: Path
    name: str
    record: dict[str, Any]
    config: str
    settings: DictConfig
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
    def untrained(self) -> bool:
        """Whether another tool made the label maps, so that what the run took says nothing of what they cost."""
        return "predictions" in self.record

    @property
    def data(self) -> dict[str, Any]:
        """What the run says of its data; empty if it ended before it had any."""
        return dict(self.record.get("data") or {})

    @property
    def is_ensemble(self) -> bool:
        """Whether the result is that of several members that each segment everything, and not of stages in a row."""
        return str(OmegaConf.select(self.settings, "model.combination._target_")) == _ENSEMBLE

    @property
    def experiment(self) -> tuple[str, str] | None:
        """The table, as `<paper>/<table>`, and the row of it that the run is of; None for any other run."""
        table, row = (OmegaConf.select(self.settings, f"experiment.{key}") for key in ("table", "row"))
        return None if table is None or row is None else (str(table), str(row))

    @property
    def overrides(self) -> list[str]:
        """What the run was started with, beside the defaults."""
        return [str(override) for override in self.record.get("overrides") or []]

    @property
    def mark(self) -> str:
        """Ends the name of a run whose validation cases were scored; "" for any other."""
        return _VALIDATION if self.scored == "validation" else ""

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
        return _scores_alone(path)
    _refuse_unbegun(path)
    try:
        record = json.loads((path / "run.json").read_text(encoding="utf-8"))
        epochs = path / "epochs.csv"
        validation = (record.get("data") or {}).get("scored") == "validation"
        config = (path / "config.yaml").read_text(encoding="utf-8")
        return Run(
            path=path,
            name=str(record.get("name") or path.name) + (_VALIDATION if validation else ""),
            record=record,
            config=config,
            settings=_settings(config),
            metrics=read_metrics(path) if (path / "metrics.csv").is_file() else _no_metrics(),
            epochs=pd.read_csv(epochs, dtype={"stage": str}) if epochs.is_file() else pd.DataFrame(),
            strata=_strata(path),
            scored_by=_scored_by(
                path, otherwise=replace(TRAINED, version=int(record.get("metrics_version", _UNRECORDED)))
            ),
            earlier=_earlier(path, record),
        )
    except (ValueError, AttributeError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise InputError(f"{path} cannot be read as a run folder: {' '.join(str(error).split())}.") from error


def _refuse_unbegun(path: Path) -> None:
    """Says of a folder without a run what it is.

    Raises:
        InputError: it is a job that ended, or waits, before anything was trained; a sweep's folder; or neither.
    """
    if not (path / "run.json").is_file():
        if (path / "multirun.yaml").is_file() or any(path.glob("*/run.json")):
            raise InputError(f"{path} is the folder of a sweep: name its jobs, {path}/*.")
        raise InputError(f"{path} is no run folder: it has no run.json.")
    if not (path / "config.yaml").is_file():
        try:
            record = json.loads((path / "run.json").read_text(encoding="utf-8"))
            told = [f"row {row}"] if (row := record["job"]["row"]) else []
            told += [str(record["status"]), *([str(record["error"])] if "error" in record else [])]
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{path} is no run folder: it has no config.yaml.") from None
        raise InputError(f"{path} is a job of a sweep in which nothing was trained: {', '.join(told)}.")


def read_runs(paths: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """Reads the run folders among some paths.

    Args:
        paths: files and folders; what is neither a run nor a folder of scores is skipped, as is what a run keeps in its
            folder, such as the scores of its stages, since these are shown with it.

    Returns:
        The runs, each with a name of its own, and sentences on what was skipped; files are passed over without one.

    Raises:
        InputError: if none is a run.
    """
    runs, skipped, inside = [], list[str](), [path for path in paths if _is_part_of_run(path)]
    if inside:
        skipped.append(f"{counted(len(inside), 'folder')} inside run folders, such as {inside[0]}: name the runs.")
    for path in paths:
        if path.is_file() or path in inside:
            continue
        try:
            runs.append(read_run(path))
        except InputError as error:
            skipped.append(str(error))
    if not runs:
        summary = f"There is nothing to report on: none of the {len(paths)} given paths is a run. {RUN_FOLDER}"
        raise InputError.of(summary, skipped) if skipped else InputError(summary)
    return told_apart(runs), skipped


def _is_part_of_run(path: Path) -> bool:
    """Whether a folder belongs to the run that it lies in; what another task wrote there does not."""
    if not path.is_dir() or any((path / f"{name}.json").is_file() for name in ("run", "evaluation", "agreement")):
        return False
    return any((folder / "run.json").is_file() for folder in path.resolve().parents)


def _scores_alone(path: Path) -> Run:
    return Run(
        path=path,
        name=path.resolve().name,
        record={},
        config="",
        settings=_settings(""),
        metrics=read_metrics(path),
        epochs=pd.DataFrame(),
        strata=_strata(path),
        scored_by=_scored_by(path, otherwise=ScoredBy()),
    )


def _settings(config: str) -> DictConfig:
    """Reads a configuration by the parser in C where there is one: it is ten times as fast as OmegaConf's own."""
    content = yaml.load(config, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    if not isinstance(content, dict | None):
        raise ValueError("config.yaml holds no mapping")
    return OmegaConf.create(content or {})


def _strata(path: Path) -> pd.DataFrame | None:
    return read_strata(path) if (path / "strata.csv").is_file() else None


def _scored_by(path: Path, *, otherwise: ScoredBy) -> ScoredBy:
    file = path / "evaluation.json"
    return ScoredBy.read(file) if file.is_file() else otherwise


def _earlier(path: Path, record: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    folders = {name: path / "stages" / name for name in record.get("stages") or {}}
    for number, member in (record.get("members") or {}).items():
        folders[f"{number}: {member['name']}"] = path / "members" / number
    folders[UNPROCESSED] = path / UNPROCESSED
    return {name: read_metrics(folder) for name, folder in folders.items() if (folder / "metrics.csv").is_file()}


def _no_metrics() -> pd.DataFrame:
    return pd.DataFrame({"case": [], "region": [], "metric": [], "value": []}).astype({"value": float})
