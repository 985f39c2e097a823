"""How good the members of a run were on validation cases, as their trainings recorded it."""

import pandas as pd

from kidney_lab.errors import InputError
from kidney_lab.inference.member_runs import RunFiles, combination_of
from kidney_lab.inference.member_weights import Dice
from kidney_lab.labels import REGIONS
from kidney_lab.methods.pipeline import enabled_stages


def member_dice(run: RunFiles) -> Dice:
    """Mean validation Dice of each region by every stage and member run of a run.

    Args:
        run: whose stages are trained.

    Returns:
        By name of the member and of the region.

    Raises:
        InputError: one of them was not validated.
    """
    stages = {name: _of_stage(run, name) for name in enabled_stages(run.config.model.stages)}
    return stages | {name: run_dice(member) for name, member in run.members().items()}


def run_dice(run: RunFiles) -> dict[str, float]:
    """Mean validation Dice of each region by a run: the mean over its stages and members that decide and know it.

    Raises:
        InputError: one of them was not validated.
    """
    members = member_dice(run)
    asked = [members[name] for name in combination_of(run.config).asks(list(members))]
    found = {region: [dice[region] for dice in asked if region in dice] for region in REGIONS}
    return {region: sum(values) / len(values) for region, values in found.items() if values}


def _of_stage(run: RunFiles, stage: str) -> dict[str, float]:
    """By region, what `epochs.csv` holds of the epoch whose weights were kept."""
    table = run.path / "epochs.csv"
    epoch = run.record["stages"].get(stage, {}).get("best", {}).get("epoch")
    rows = pd.read_csv(table, dtype={"stage": str}) if table.is_file() else pd.DataFrame(columns=["stage", "epoch"])
    kept = rows[(rows["stage"] == stage) & (rows["epoch"] == epoch)]
    columns = {region: f"val_case/{region}_dice" for region in REGIONS}
    known = {region: kept[column].dropna() for region, column in columns.items() if column in kept}
    dice = {region: float(values.iloc[-1]) for region, values in known.items() if len(values)}
    if not dice:
        raise InputError(
            f"model.member_weights=validation_dice needs the Dice of validation cases, and {run.path} recorded none "
            f"for the weights that it kept of its stage {stage}: choose equal, or give numbers."
        )
    return dice
