"""Which pictures the report shows: of cases, of their heat maps, and of what discriminators take for a reference."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from kidney_lab.reporting.formatting import decimal, words
from kidney_lab.reporting.runs import Run
from kidney_lab.reporting.scores import decisive_region, values_of
from kidney_lab.reporting.slice_drawing import WINDOW_WORDS

MAX_RUNS = 8
"""Pictures of so many runs are shown side by side at most: each weighs some hundred kilobytes."""

MAX_HEATED = 4
"""Heat maps of so many methods are shown at most."""

_KEY = f"Filled: reference. Outlined: prediction. {WINDOW_WORDS}"


@dataclass(frozen=True)
class Panel:
    """A picture of one case.

    Args:
        png: base64.
        alt: what it shows.
        caption: below it.
    """

    png: str
    alt: str
    caption: str


HEATMAPS = "heatmaps"
"""Folder of a run with `<case>.png`, as `kidney_lab.reporting.heatmaps` draws them."""


def choose_panels(runs: Sequence[Run]) -> list[Panel]:
    """Chooses pictures out of those that the runs have kept.

    Args:
        runs: folders with `figures/<case>.png`.

    Returns:
        Of one run the worst, the median and the best case that has a picture; of several the case that is worst on
        average, once for each run, so that they can be compared.
    """
    region = next((name for run in runs if (name := decisive_region(run.metrics))), None)
    if region is None:
        return []
    if len(runs) > 1:
        return _same_case(runs, region)
    return [_panel(runs[0], case, role, region) for case, role in _telling_cases(runs[0], region, "figures").items()]


def heatmap_panels(runs: Sequence[Run]) -> list[Panel]:
    """Takes the heat maps of cases.

    Args:
        runs: folders with `heatmaps/<case>.png`.

    Returns:
        Of one run those of the worst, the median and the best case; of several the worst and the median case of each
        of the first methods that have any: runs of one row of a table are one method, shown by the first of them.
    """
    several, found = len(runs) > 1, dict[object, list[Panel]]()
    for run in runs:
        region, method = decisive_region(run.metrics), run.experiment or run.name
        if region is None or method in found or len(found) == MAX_HEATED:
            continue
        cases = _telling_cases(run, region, HEATMAPS)
        shown = [case for case, role in cases.items() if not (several and role.startswith("Best"))]
        if shown:
            found[method] = [_heat_panel(run, case, cases[case], named=several) for case in shown]
    return [panel for panels in found.values() for panel in panels]


def _heat_panel(run: Run, case: str, role: str, *, named: bool) -> Panel:
    title, others = role, ""
    if named:
        title, others = f"{run.name}, {role[0].lower()}{role[1:]}", f" Others lie in {HEATMAPS}/ of the run."
    return Panel(
        _base64(run.path / HEATMAPS / f"{case}.png"),
        f"Slices of {case}: image, heat, probability before and after the refit.",
        f"{title}: {case}, the slices with most kidney and most tumor. Heat: what speaks for the region in the region "
        f"of interest; the refit resets each pixel's probability by it.{others}",
    )


def _telling_cases(run: Run, region: str, folder: str) -> dict[str, str]:
    """The worst, the median and the best case that has a picture in a folder, and which of these it is."""
    dice = _ranked(run, region)
    shown = [str(case) for case in dice.index if (run.path / folder / f"{case}.png").is_file()]
    if not shown:
        return {}
    chosen = {shown[-1]: "Best", shown[len(shown) // 2]: "Median", shown[0]: "Worst"}  # the worst wins over the others
    few = "" if len(shown) == len(dice) else f" of the {len(shown)} cases with a picture"
    return {case: f"{chosen[case]} case{few}" for case in shown if case in chosen}


def confidence_panels(runs: Sequence[Run]) -> list[Panel]:
    """Takes the pictures that the discriminators of adversarial stages have left.

    Args:
        runs: folders with `stages/<name>/confidence.png`.

    Returns:
        Of one run a picture for each of these stages, in order; of several none, since they would be too many.
    """
    if len(runs) > 1:
        return []
    pictures = {stage: run.path / "stages" / stage / "confidence.png" for run in runs for stage in _stages(run)}
    return [
        Panel(
            _base64(file),
            f"Validation samples of stage {stage}: image, reference, prediction and confidence map.",
            f"Discriminator of stage {stage} after its last validation: what it takes for a reference (1) and what for "
            "a prediction (0), pixel by pixel.",
        )
        for stage, file in pictures.items()
        if file.is_file()
    ]


def _stages(run: Run) -> list[str]:
    return list(run.record.get("stages") or {})


def _same_case(runs: Sequence[Run], region: str) -> list[Panel]:
    dice = pd.DataFrame({run.name: values_of(run.metrics, region, "dice") for run in runs}).mean(axis=1).dropna()
    for case in dice.sort_values(kind="stable").index:
        having = [run for run in runs if _picture(run, str(case)).is_file()][:MAX_RUNS]
        if having:
            return [_panel(run, str(case), f"{run.name}, hardest case", region) for run in having]
    return []


def _ranked(run: Run, region: str) -> "pd.Series[float]":
    return values_of(run.metrics, region, "dice").dropna().sort_values(kind="stable")


def _picture(run: Run, case: str) -> Path:
    return run.path / "figures" / f"{case}.png"


def _panel(run: Run, case: str, role: str, region: str) -> Panel:
    dice = _ranked(run, region)
    rank = f", rank {list(dice.index).index(case) + 1} of {len(dice)}" if case in dice.index else ""
    value = f"{words(region)} Dice {decimal(dice.get(case))}{rank}"
    alt = f"Three axial slices of {case}: largest tumor, most disagreement, middle of the kidneys. {value}."
    return Panel(_base64(_picture(run, case)), alt, f"{role}: {case}. {value}. {_KEY}")


def _base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode("ascii")
