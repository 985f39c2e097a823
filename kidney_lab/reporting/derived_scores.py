"""Scores of papers' tables that follow from others, see `kidney_lab.reporting.paper_metrics`.

Table 2 of ERNet (Xue et al., Traitement du Signal 42(4), 2025) has Dice for blurry and for crisp edges apart. What is
blurry the paper does not say: here the border of a region in a case, by `strata.csv` (`kidney_lab.metrics.ambiguity`).
Its FLOPs can only be multiply-adds, of which a framework counts two FLOPs each. Sections 3.2 and 4.2 of the improved
V-Net (Lin and Chen, 2025/26) have Dice and the Jaccard index of small tumors, and how many of these are missed.
"""

from typing import Any

import numpy as np
import pandas as pd

from kidney_lab.composition.counted_stages import counted_stages
from kidney_lab.metrics.strata import BORDER_REGIONS
from kidney_lab.reporting.paper_metrics import (
    BORDER_METRICS,
    GFLOPS,
    MISSED,
    MISSED_STRATUM,
    PARAMETERS,
    SECONDS,
    STRATUM_METRICS,
)
from kidney_lab.reporting.runs import Run


def with_borders(metrics: pd.DataFrame, strata: pd.DataFrame | None) -> pd.DataFrame:
    """Adds Dice once more under the name of what the case's border is, blurry or crisp.

    Args:
        metrics: tidy table `case,region,metric,value`.
        strata: of the cases; without it, or where it has no borders, nothing is added.
    """
    if strata is None:
        return metrics
    added = []
    for region in BORDER_REGIONS:
        if (column := f"{region}_border") in strata:
            border = metrics["case"].map(strata.set_index("case")[column])
            chosen = (metrics["region"] == region) & (metrics["metric"] == "dice") & border.isin(list(BORDER_METRICS))
            added.append(metrics[chosen].assign(metric=border[chosen].map(BORDER_METRICS)))
    return pd.concat([metrics, *added], ignore_index=True) if added else metrics


def with_small_tumors(metrics: pd.DataFrame, strata: pd.DataFrame | None) -> pd.DataFrame:
    """Adds scores of the tumor once more under the name of the stratum of small tumors that the case belongs to.

    Args:
        metrics: tidy table `case,region,metric,value`; tumors are missed by `lesion_sensitivity`, where it was scored.
        strata: of the cases; without it nothing is added.
    """
    if strata is None:
        return metrics
    tumor, by_case = metrics[metrics["region"] == "tumor"], strata.set_index("case")
    added = []
    for name, (metric, column) in {**STRATUM_METRICS, MISSED: ("lesion_sensitivity", MISSED_STRATUM)}.items():
        if column in by_case:
            small = tumor["case"].map(by_case[column]).fillna(False).astype(bool)
            added.append(tumor[small & (tumor["metric"] == metric)].assign(metric=name))
    frame = pd.concat([metrics, *added], ignore_index=True)
    missed = (frame["metric"] == MISSED) & frame["value"].notna()
    return frame.assign(value=frame["value"].mask(missed, (frame["value"] == 0).astype(float)))


def counted_parts(run: Run) -> list[dict[str, Any]]:
    """What `run.json` says of the parts of a run whose costs add up.

    They are the stages that no other contains, and the members of an ensemble, which are other runs and count whole.
    """
    stages = run.record.get("stages") or {}
    members = (run.record.get("members") or {}).values()
    return [*(stages[name] for name in counted_stages(run.settings, stages)), *members]


def summed_cost(run: Run, what: str) -> float:
    """Sum over the counted parts of a run.

    Args:
        run: that trained the stages.
        what: "parameters" or "flops".

    Returns:
        NaN without any part, and where one does not say.
    """
    counts: list[Any] = [part.get(what) for part in counted_parts(run)]
    return np.nan if not counts or None in counts else float(sum(counts))


def network_costs(run: Run) -> dict[str, float]:
    """What the networks of a run cost, by the names of `paper_metrics`; NaN where a run does not say.

    Args:
        run: that trained the stages.

    Returns:
        Thousands of millions of multiply-adds of one forward pass, of inputs of the size of a training sample; millions
        of parameters; seconds per case of the test, on the hardware of the run.
    """
    seconds = (run.record.get("cost_per_case") or {}).get("seconds")
    return {
        GFLOPS: summed_cost(run, "flops") / 2e9,
        PARAMETERS: summed_cost(run, "parameters") / 1e6,
        SECONDS: np.nan if seconds is None else float(seconds),
    }
