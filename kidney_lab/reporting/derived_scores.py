"""Scores of papers' tables that follow from others: Dice of blurry and of crisp borders, and multiply-adds.

Table 2 of ERNet (Xue et al., Traitement du Signal 42(4), 2025) has Dice for blurry and for crisp edges apart. What is
blurry the paper does not say: here the border of a region in a case, by `strata.csv` (`kidney_lab.metrics.ambiguity`).
Its FLOPs can only be multiply-adds, of which a framework counts two FLOPs each.
"""

from typing import Final

import numpy as np
import pandas as pd
from omegaconf import OmegaConf

from kidney_lab.metrics.ambiguity import BLURRY, CRISP
from kidney_lab.metrics.strata import BORDER_REGIONS
from kidney_lab.reporting.runs import Run

GFLOPS: Final = "gflops"
"""Name of the multiply-adds in `published.json`, in thousands of millions, as papers print them."""

BORDER_METRICS: Final = {BLURRY: "dice_blurry_edges", CRISP: "dice_crisp_edges"}
TITLES: Final = {
    "dice_blurry_edges": "Dice, blurry borders \N{UPWARDS ARROW}",
    "dice_crisp_edges": "Dice, crisp borders \N{UPWARDS ARROW}",
    GFLOPS: "Multiply-adds of one pass (G) \N{DOWNWARDS ARROW}",
}
"""Titles of what is no metric of a case's masks alone."""


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


def multiply_adds(run: Run) -> float:
    """Multiply-adds of one forward pass through the networks of all stages, in thousands of millions.

    A stage that another contains is counted with that one.

    Args:
        run: that trained the stages.

    Returns:
        G multiply-adds, of an input of the size of a training sample; NaN where a run does not say.
    """
    stages = run.record.get("stages") or {}
    config = OmegaConf.create(run.config)
    contained = {OmegaConf.select(config, f"model.stages.{name}.contains") for name in stages}
    flops = [stage.get("flops") for name, stage in stages.items() if name not in contained]
    if not flops or None in flops:
        return np.nan
    return float(sum(flops)) / 2e9
