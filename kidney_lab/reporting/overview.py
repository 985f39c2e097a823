"""What the report says of a run besides its scores: facts, warnings, cost and how to run it again."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from kidney_lab.reporting.derived_scores import summed_cost
from kidney_lab.reporting.formatting import MISSING, count, decimal, duration, instant, mebibytes, text
from kidney_lab.reporting.provenance import (
    comparison_warnings,
    excluded_words,
    made_up,
    refit_warning,
    split_words,
    unscored_warning,
    validation_warning,
)
from kidney_lab.reporting.runs import Run
from kidney_lab.reporting.sections import TableRow

COST_HEADER: Final = ("Stage", "Parameters", "Input", "FLOPs", "Epochs", "Steps", "Kept epoch", "Time", "Peak memory")


@dataclass(frozen=True)
class Badge:
    """A word or two under the title; `kind` is a class of the style sheet."""

    text: str
    kind: str = ""


def badges(runs: Sequence[Run]) -> list[Badge]:
    """What must be seen first: made-up data, no test, runs that did not end well or are none, code without a commit."""
    kinds = dict.fromkeys(made_up(run).capitalize() for run in runs if run.synthesized)
    found = [Badge(kind, "loud") for kind in kinds]
    found += [Badge("validation scores", "warn")] if any(run.scored == "validation" for run in runs) else []
    statuses = list(dict.fromkeys(_status(run) for run in runs))
    found += [Badge(status, {"finished": "good", "failed": "bad"}.get(status, "warn")) for status in statuses]
    if any(run.record.get("dirty") for run in runs):
        found.append(Badge("uncommitted changes", "warn"))
    return found


def warnings(runs: Sequence[Run]) -> list[str]:
    """Sentences on what the scores do not allow to conclude."""
    found = []
    names = list(dict.fromkeys(str(run.data.get("name", run.name)) for run in runs if run.synthesized))
    if names:
        found.append(
            f"The images of {', '.join(names)} are synthesized: these scores say nothing about patients and must not "
            "be compared with those on real scans."
        )
    kinds = (refit_warning, validation_warning, unscored_warning, comparison_warnings)
    return [*found, *(sentence for warning in kinds for sentence in warning(runs))]


def facts(run: Run) -> list[tuple[str, str]]:
    """Name and value of what identifies a run."""
    record, data = run.record, run.data
    sizes = [data.get(key, MISSING) for key in ("n_train", "n_val", "n_test")]
    commit = text(record.get("commit"))[:12] + (", changed since" if record.get("dirty") else "")
    return [
        ("Model and data", run.name if run.scores_only else text(record.get("name"))),
        ("Data", text(data.get("name")) + (" (synthesized)" if run.synthesized else "")),
        ("Cases: train, validation, test", ", ".join(map(str, sizes))),
        ("Cases scored", str(run.metrics["case"].nunique())),
        ("Split", split_words(data)),
        ("Excluded", MISSING if run.scores_only else excluded_words(data)),
        ("Status", _status(run)),
        ("Seed", text(record.get("seed"))),
        ("Commit", commit),
        ("Device", text(record.get("device"))),
        ("Precision", text(record.get("precision"))),
        ("Wall time", MISSING if run.untrained else duration(record.get("wall_time_s"))),
        ("Started", instant(record.get("started"))),
    ]


def cost_rows(run: Run, color: int) -> list[TableRow]:
    """Cost of every stage, of one case that was segmented, and of the whole run below; none where it is not known."""
    if run.untrained:
        return []
    rows = []
    for name, stage in (run.record.get("stages") or {}).items():
        cells = (
            str(name),
            count(stage.get("parameters")),
            "\N{MULTIPLICATION SIGN}".join(map(str, stage.get("input_shape") or [MISSING])),
            count(stage.get("flops"), "FLOPs"),
            text(stage.get("epochs")),
            text(stage.get("steps")),
            _kept(stage.get("best") or {}),
            duration(stage.get("wall_time_s")),
            "",
        )
        rows.append(TableRow(run.name, color, cells))
    rows += [TableRow(run.name, color, cells) for cells in _case_cells(run)]
    time, memory = run.record.get("wall_time_s"), run.record.get("peak_memory_mib")
    if rows or time is not None or memory is not None:
        total = ("Whole run", *[""] * (len(COST_HEADER) - 3), duration(time), mebibytes(memory))
        rows.append(TableRow(run.name, color, total, kind="total"))
    return rows


def _case_cells(run: Run) -> list[tuple[str, ...]]:
    """Cells of the row on one case; none where an older run did not measure it."""
    cost = run.record.get("cost_per_case")
    if not cost:
        return []
    memory = mebibytes(cost["peak_mib"])
    if cost.get("device_mib") is not None:
        memory += f", GPU {mebibytes(cost['device_mib'])}"
    cells = (
        f"One case, of {cost['n']}",
        count(summed_cost(run, "parameters")),
        f"{cost['windows']:g} windows",
        count(cost["flops"], "FLOPs"),
    )
    return [(*cells, *[""] * (len(COST_HEADER) - len(cells) - 2), duration(cost["seconds"]), memory)]


def _status(run: Run) -> str:
    return "scores only" if run.scores_only else text(run.record.get("status"))


def command(run: Run) -> str:
    """Command line that starts the run again."""
    overrides = [str(override) for override in run.record.get("overrides") or []]
    return shlex.join(["python", "-m", "kidney_lab", *overrides])


def _kept(best: dict[str, Any]) -> str:
    if best.get("epoch") is None:
        return MISSING
    monitor = str(best.get("monitor")).rpartition("/")[2]
    return f"{best['epoch']} ({monitor} {decimal(best.get('value'))})"
