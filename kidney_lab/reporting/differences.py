"""Differences of runs to a baseline, case by case: which runs can be compared at all, and the table of the tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from kidney_lab.errors import InputError
from kidney_lab.metrics.kits import METRICS
from kidney_lab.metrics.scoring import find_metric
from kidney_lab.reporting.accuracy_remark import accuracy_remark
from kidney_lab.reporting.comparability import FACTS, SURFACE, first_difference, measures_surfaces
from kidney_lab.reporting.comparison import compare_runs, family_words
from kidney_lab.reporting.formatting import decimal, p_value, signed_with_interval, words
from kidney_lab.reporting.metric_words import ARROWS, metric_title
from kidney_lab.reporting.runs import Run
from kidney_lab.reporting.sections import TableRow, TableSection
from kidney_lab.reporting.statistics import FROM, Interval

HEADER: Final = (
    *("Score", "Difference, mean [95% CI]", "Cases"),
    *("Wilcoxon p (Holm)", "t-test p (Holm)", "Rank-biserial r", "Cohen's dz"),
)

_WITHIN_TESTS: Final = [fact for fact in FACTS if fact is not SURFACE]
"""In what runs must agree for a test; scores that one has not, or that need another surface, are left out by name."""


@dataclass(frozen=True, eq=False)
class Differences:
    """Runs beside a baseline.

    Args:
        baseline: name of the run that is subtracted.
        table: as `compare_runs` gives it; empty where nothing can be compared.
        notes: sentences on runs and scores that are not in it.
    """

    baseline: str
    table: pd.DataFrame
    notes: tuple[str, ...]


def find_run(runs: Sequence[Run], named: str) -> Run | None:
    """The run of a name, of a folder's name or of a path; None where there is none.

    Raises:
        InputError: several runs have the name.
    """
    folder = Path(named).expanduser().resolve()
    for match in (
        [run for run in runs if run.name == named or run.path.resolve() == folder],
        [run for run in runs if run.path.resolve().name == named],
    ):
        if len(match) == 1:
            return match[0]
        if match:
            raise InputError(
                f"baseline={named} is the name of {len(match)} runs: give the folder of one, such as {match[0].path}."
            )
    return None


def choose_compared(wanted: str | Sequence[str], runs: Sequence[Run]) -> list[str]:
    """Metrics that runs are compared by.

    Args:
        wanted: "official", "all" that were scored, the name of one, or names.
        runs: that were scored.

    Returns:
        Names as they stand in `metrics.csv`.

    Raises:
        InputError: no run has one of them.
    """
    scored = list(dict.fromkeys(str(name) for run in runs for name in run.metrics["metric"]))
    if wanted in ("official", "all"):
        return list(METRICS) if wanted == "official" else scored
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    if unknown := [name for name in names if name not in scored]:
        raise InputError(
            f"metrics={wanted}: no run was scored by {unknown[0]}; choose official, all, or out of {', '.join(scored)}."
        )
    return names


def differences(runs: Sequence[Run], *, metrics: Sequence[str], baseline: Run | None = None) -> Differences | None:
    """Compares runs with a baseline on the cases that all of them scored.

    Args:
        runs: those without scores take no part.
        metrics: names that are compared, in every region that all runs scored. One that is better near zero is compared
            by its size.
        baseline: that the user asked for; None: the first with scores.

    Returns:
        The paired tests, corrected together; None where there are no two runs with scores. Runs that were scored on
        other cases or in another way are left out and named.

    Raises:
        InputError: the baseline that was asked for has no scores, or is alone.
    """
    scored = [run for run in runs if not run.metrics.empty]
    if baseline is not None and baseline.metrics.empty:
        raise InputError(f"baseline={baseline.name} has no scores yet: finish its test phase, or choose another run.")
    if len(scored) < 2:
        if baseline is not None:
            raise InputError(f"baseline={baseline.name} has nothing to be compared with: name other runs by runs=.")
        return None
    base = scored[0] if baseline is None else baseline
    others = [run for run in scored if run is not base]
    notes = {run.name: sentence for run in others if (sentence := apart(run, base, metrics))}
    compared = [base, *(run for run in others if run.name not in notes)]
    scores, left_out = _common_scores(compared, metrics)
    sentences = (*notes.values(), *left_out)
    if len(compared) < 2 or not scores:
        return Differences(base.name, pd.DataFrame(), sentences)
    tables = {run.name: comparable(run.metrics) for run in compared}
    return Differences(base.name, compare_runs(tables, scores, baseline=base.name), sentences)


def differences_section(found: Differences, runs: Sequence[Run]) -> TableSection:
    """Lays the differences out: score by score, a row per run."""
    color = {run.name: index for index, run in enumerate(runs)}
    rows = [
        TableRow(
            row["run"], color[row["run"]], _cells(row), kind="group" if row["run"] == found.table["run"][0] else ""
        )
        for row in found.table.to_dict("records")
    ]
    family = family_words(*(found.table.get(test, ()) for test in ("wilcoxon_p", "t_p")))
    return TableSection(
        id="differences",
        title=f"Differences to {found.baseline}",
        caption=(
            f"Each run minus {found.baseline}, case by case, with 95 % confidence intervals (bootstrap over cases, "
            f"BCa; {FROM}); p of Wilcoxon's signed-rank test and of the paired t-test, two-sided, and in brackets "
            f"corrected by Holm over {family}. Cases where either value is undefined are left out. {ARROWS}"
        ),
        header=HEADER,
        rows=rows,
        notes=found.notes,
        explanations=accuracy_remark(
            found.table.get("metric", ()), [run.metrics for run in runs if run.name in set(found.table.get("run", ()))]
        ),
    )


def apart(run: Run, base: Run, metrics: Sequence[str]) -> str | None:
    """Sentence on why a run cannot be compared with another by these metrics, if so."""
    data, other = run.data.get("name"), base.data.get("name")
    if data and other and data != other:  # KiTS editions number the same patients alike, with other references
        return f"Compared on different data: {run.name} was scored on {data}, {base.name} on {other}; no paired test."
    if sentence := _scored_otherwise(run, base, metrics):
        return sentence
    cases, expected = set(run.metrics["case"]), set(base.metrics["case"])
    if cases != expected:
        return (
            f"Compared on different cases: {run.name} was scored on {len(cases)}, {base.name} on {len(expected)}, and "
            f"{len(cases & expected)} are in both; no paired test."
        )
    if found := first_difference([base, run], _WITHIN_TESTS):
        return f"Not compared, since they differ in {found.fact.title}: {found.words}; no paired test."
    return None


def _scored_otherwise(run: Run, base: Run, metrics: Sequence[str]) -> str | None:
    """Sentence on the first known way in which two runs were scored unlike each other."""
    both = set(metrics) & set(run.metrics["metric"]) & set(base.metrics["metric"])
    keys = ["score", "references", *(["surface"] if measures_surfaces(both) else [])]
    for key in keys:
        own, other = getattr(run.scored_by, key), getattr(base.scored_by, key)
        if own is not None and other is not None and own != other:
            return (
                f"Scored in different ways: {run.name} with {key}={own}, {base.name} with {key}={other}; no paired "
                f"test{', except by metrics= that need no surface' if key == 'surface' else ''}."
            )
    return None


def _common_scores(runs: Sequence[Run], metrics: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Scores that all runs have of all cases, in the first one's order, and a sentence on those that are left out."""
    by_run = [_cases_by_score(run) for run in runs]
    wanted = [
        key for key in dict.fromkeys(key for cases in by_run for key in cases) if key[1] in metrics and judges(key[1])
    ]
    common = [key for key in wanted if len({cases.get(key) for cases in by_run}) == 1]
    missing = [f"{words(region)}: {words(metric)}" for region, metric in wanted if (region, metric) not in common]
    if not missing:
        return common, []
    return common, [f"Not scored for every case by every run, so not compared: {', '.join(missing)}."]


def _cases_by_score(run: Run) -> dict[tuple[str, str], frozenset[str]]:
    groups = run.metrics.groupby(["region", "metric"], sort=False)["case"]
    return {(str(region), str(metric)): frozenset(cases) for (region, metric), cases in groups}


def judges(name: str) -> bool:
    """Whether some values of a metric are better than others; those of the user's own are taken to be."""
    metric = find_metric(name)
    return metric is None or metric.better != "neither"


def _is_size(name: str) -> bool:
    """Whether a metric is compared by its size, since it is better near zero."""
    metric = find_metric(name)
    return metric is not None and metric.better == "zero"


def comparable(frame: pd.DataFrame) -> pd.DataFrame:
    """Replaces the values of metrics that are better near zero by their sizes.

    Args:
        frame: tidy table `case,region,metric,value`.
    """
    return frame.assign(value=frame["value"].where(~frame["metric"].map(_is_size), frame["value"].abs()))


def score_title(region: str, metric: str) -> str:
    """Names a score that is compared.

    >>> score_title("tumor", "rvd"), score_title("", "mean_dice")
    ('Tumor: Relative volume difference →0, its size', 'Mean Dice')
    """
    return f"{words(region)}{': ' if region else ''}{metric_title(metric)}{', its size' if _is_size(metric) else ''}"


def _cells(row: Mapping[Any, Any]) -> list[str]:
    interval = Interval(row["difference"], row["low"], row["high"], row["n"], row["n_undefined"])
    return [
        score_title(row["region"], row["metric"]),
        signed_with_interval(interval),
        f"{row['n']} of {row['n'] + row['n_undefined']}",
        *(f"{p_value(row[name])} ({p_value(row[f'{name}_holm'])})" for name in ("wilcoxon_p", "t_p")),
        *(decimal(row[name], 2) for name in ("rank_biserial", "cohens_dz")),
    ]
