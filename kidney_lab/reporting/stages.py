"""What each stage of a method adds: the scores on the way to a result, each tested against the ones before it.

The stages that the result is made of are scored on the scan's own grid, each in the regions that it predicts,
post-processed as the result is where they mark kidneys; the result before post-processing stands apart where that
changed something. A run of one stage that post-processing left alone is not here: its scores are the result's. The
members of an ensemble come after each other in no such sense: `kidney_lab.reporting.members`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from kidney_lab.metrics.kits import METRICS
from kidney_lab.reporting.comparison import PairedComparison, compare_pair, family_words, holm
from kidney_lab.reporting.formatting import (
    MISSING,
    decimal,
    mean_with_interval,
    p_value,
    signed_with_interval,
    words,
)
from kidney_lab.reporting.metric_words import ARROWS, metric_title
from kidney_lab.reporting.runs import Run
from kidney_lab.reporting.scores import Score, regions_of, values_of
from kidney_lab.reporting.sections import TableRow, TableSection
from kidney_lab.reporting.statistics import FROM, bootstrap_interval

RESULT: Final = "result"
"""Name of what a run wrote into `predictions/`, after its last stage and post-processing."""

HEADER: Final = (
    *("Score", "Stage", "Mean [95% CI]", "Median", "Cases"),
    *("Difference to the row above [95% CI]", "Pairs", "Wilcoxon p (Holm)"),
)
N_TEXT: Final = 2
"""Columns of words under `HEADER`."""


@dataclass(frozen=True)
class StageScore:
    """One score of one stage.

    Args:
        run: index of the run in the report.
        region: name.
        metric: "dice" or "surface_dice".
        stage: what was scored: a stage, the result before post-processing, or the result.
        score: over the cases.
        change: this minus what came before it and scores the region too, case by case; None for the first.
    """

    run: int
    region: str
    metric: str
    stage: str
    score: Score
    change: PairedComparison | None


def stage_scores(runs: Sequence[Run]) -> list[StageScore]:
    """Follows each score through the stages.

    Args:
        runs: of the report; ensembles, and those without scores on the way, take no part.

    Returns:
        Region by region, metric by metric and run by run, each from the first stage to the result.
    """
    taking_part = [(index, run) for index, run in enumerate(runs) if run.earlier and not run.is_ensemble]
    return [
        row
        for region in regions_of(run.metrics for _, run in taking_part)
        for metric in METRICS
        for index, run in taking_part
        for row in _through_stages(index, run, region, metric)
    ]


def stages_section(runs: Sequence[Run]) -> TableSection | None:
    """Lays the scores of the stages out, one below the other.

    Args:
        runs: of the report.

    Returns:
        The table, whose p-values are corrected together; None where no run has scores on the way to its result.
    """
    scores = stage_scores(runs)
    if not scores:
        return None
    family = family_words([score.change.wilcoxon_p for score in scores if score.change])
    corrected = holm([score.change.wilcoxon_p if score.change else np.nan for score in scores])
    rows = [
        TableRow(runs[score.run].name, score.run, _cells(score, p), kind="" if score.change else "group")
        for score, p in zip(scores, corrected, strict=True)
    ]
    return TableSection(
        id="stages",
        title="Stage by stage",
        caption=(
            "What led to the result: each stage that it is made of, post-processed as the result is where it marks "
            "kidneys, and the result before post-processing (unprocessed), where that changed something; a stage only "
            "in the regions that it predicts. Means over cases with 95 % confidence intervals (bootstrap over cases, "
            f"BCa; {FROM}), and each row minus the row above it of the same score, case by case; p of Wilcoxon's "
            f"signed-rank test, two-sided, and in brackets corrected by Holm over {family}. Undefined values are left "
            f"out, and pairs where either is. {ARROWS}"
        ),
        header=HEADER,
        rows=rows,
        by_run=len(runs) > 1,
        n_text=N_TEXT,
    )


def _through_stages(index: int, run: Run, region: str, metric: str) -> Iterator[StageScore]:
    before = None
    cases = values_of(run.metrics, region, metric).index
    for stage, frame in {**run.earlier, RESULT: run.metrics}.items():
        values = values_of(frame, region, metric).reindex(cases)
        if not values.notna().any():
            continue  # the stage does not predict the region
        change = None if before is None else compare_pair(values, before)
        score = Score(bootstrap_interval(values.to_numpy()), float(values.median()))
        yield StageScore(index, region, metric, stage, score, change)
        before = values


def _cells(row: StageScore, corrected_p: float) -> list[str]:
    change = row.change
    return [
        f"{words(row.region)}: {metric_title(row.metric)}",
        row.stage,
        mean_with_interval(row.score.interval),
        decimal(row.score.median),
        str(row.score.interval.n),
        *([MISSING] * 3 if change is None else _change_cells(change, corrected_p)),
    ]


def _change_cells(change: PairedComparison, corrected_p: float) -> list[str]:
    return [
        signed_with_interval(change.difference),
        str(change.difference.n),
        f"{p_value(change.wilcoxon_p)} ({p_value(corrected_p)})",
    ]
