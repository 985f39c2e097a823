"""Whether an ensemble wins over each of its members: their scores, and the ensemble's minus each, case by case."""

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
from kidney_lab.reporting.runs import UNPROCESSED, Run
from kidney_lab.reporting.scores import Score, regions_of, values_of
from kidney_lab.reporting.sections import TableRow, TableSection
from kidney_lab.reporting.statistics import FROM, bootstrap_interval

ENSEMBLE: Final = "ensemble"
"""Name of the result in the table."""

HEADER: Final = (
    *("Score", "Member", "Weight", "Mean [95% CI]", "Median", "Cases"),
    *("Ensemble minus member [95% CI]", "Pairs", "Wilcoxon p (Holm)"),
)
N_TEXT: Final = 2
"""Columns of words under `HEADER`."""


@dataclass(frozen=True)
class MemberScore:
    """One score of one member, or of the ensemble.

    Args:
        run: index of the run in the report.
        region: name.
        metric: "dice" or "surface_dice".
        member: a stage, another run by number and name, or `ENSEMBLE`.
        weight: by which the member counts; NaN where it is not recorded, and of the ensemble.
        score: over the cases.
        gain: the ensemble minus the member, case by case; None for the ensemble itself.
    """

    run: int
    region: str
    metric: str
    member: str
    weight: float
    score: Score
    gain: PairedComparison | None


def member_scores(runs: Sequence[Run]) -> list[MemberScore]:
    """Compares ensembles with their members.

    Args:
        runs: of the report; those that are no ensemble, and those whose members were not scored, take no part.

    Returns:
        Region by region, metric by metric and run by run the members that predict the region, then the ensemble.
    """
    taking_part = [
        (index, run) for index, run in enumerate(runs) if run.is_ensemble and set(run.earlier) - {UNPROCESSED}
    ]
    return [
        row
        for region in regions_of(run.metrics for _, run in taking_part)
        for metric in METRICS
        for index, run in taking_part
        for row in _of_run(index, run, region, metric)
    ]


def members_section(runs: Sequence[Run]) -> TableSection | None:
    """Lays out the members of every ensemble above it.

    Args:
        runs: of the report.

    Returns:
        The table, whose p-values are corrected together; None without an ensemble that has scores of its members.
    """
    scores = member_scores(runs)
    if not scores:
        return None
    family = family_words([score.gain.wilcoxon_p for score in scores if score.gain])
    corrected = holm([score.gain.wilcoxon_p if score.gain else np.nan for score in scores])
    rows = [
        TableRow(runs[score.run].name, score.run, _cells(score, p), kind="group" if index in _starts(scores) else "")
        for index, (score, p) in enumerate(zip(scores, corrected, strict=True))
    ]
    return TableSection(
        id="members",
        title="Ensemble and members",
        caption=(
            "Each member of an ensemble by itself, with its weight, in the regions that it predicts: a stage "
            "post-processed as the ensemble is where it marks kidneys, another run as it was itself. Means over cases "
            f"with 95 % confidence intervals (bootstrap over cases, BCa; {FROM}), and the ensemble minus each member, "
            "case by case; p of Wilcoxon's signed-rank test, two-sided, and in brackets corrected by Holm over "
            f"{family}. Undefined values are left out, and pairs where either is. {ARROWS}"
        ),
        header=HEADER,
        rows=rows,
        by_run=len({score.run for score in scores}) > 1,
        n_text=N_TEXT,
    )


def _of_run(index: int, run: Run, region: str, metric: str) -> Iterator[MemberScore]:
    ensemble = values_of(run.metrics, region, metric)
    members = {name: frame for name, frame in run.earlier.items() if name != UNPROCESSED}
    for name, frame in {**members, ENSEMBLE: run.metrics}.items():
        values = values_of(frame, region, metric).reindex(ensemble.index)
        if not values.notna().any():
            continue  # the member does not predict the region
        gain = None if name == ENSEMBLE else compare_pair(ensemble, values)
        score = Score(bootstrap_interval(values.to_numpy()), float(values.median()))
        weight = (run.record.get("member_weights") or {}).get(name.partition(":")[0], np.nan)
        yield MemberScore(index, region, metric, name, weight, score, gain)


def _starts(scores: Sequence[MemberScore]) -> set[int]:
    """Places where another score or run begins: after each ensemble, and at the top."""
    return {0, *(index + 1 for index, score in enumerate(scores) if score.gain is None)}


def _cells(row: MemberScore, corrected_p: float) -> list[str]:
    gain = row.gain
    return [
        f"{words(row.region)}: {metric_title(row.metric)}",
        row.member,
        decimal(row.weight),
        mean_with_interval(row.score.interval),
        decimal(row.score.median),
        str(row.score.interval.n),
        *([MISSING] * 3 if gain is None else _gain_cells(gain, corrected_p)),
    ]


def _gain_cells(gain: PairedComparison, corrected_p: float) -> list[str]:
    return [
        signed_with_interval(gain.difference),
        str(gain.difference.n),
        f"{p_value(gain.wilcoxon_p)} ({p_value(corrected_p)})",
    ]
