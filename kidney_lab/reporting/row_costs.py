"""What the rows of a paper's table cost: parameters, FLOPs, seconds and memory, each averaged over its runs."""

from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np

from kidney_lab.reporting.best import Candidate, best_cells
from kidney_lab.reporting.derived_scores import counted_parts, summed_cost
from kidney_lab.reporting.formatting import MISSING, decimal
from kidney_lab.reporting.row_groups import RowGroup
from kidney_lab.reporting.runs import Run
from kidney_lab.reporting.sections import TableRow, TableSection

_TIMES: Final = "\N{MULTIPLICATION SIGN}"
_DOWN: Final = " \N{DOWNWARDS ARROW}"
_CAPTION: Final = (
    "Means over the runs of a row. FLOPs are twice the multiply-adds: of one forward pass of every network on its "
    f"input, a training sample (B{_TIMES}C{_TIMES}D{_TIMES}H{_TIMES}W, or without D); and of one case, of all its "
    "windows, the median over the test cases. Parameters and FLOPs of several networks are summed. Training: the "
    "stages' own time, those that another run trained for this one included. Time per case: from the scan in memory to "
    "the label map on its grid, the median over the test cases. Peak memory: of the process in the whole run, and of "
    "the GPU for one case. Times and memory are those of the device."
)


def cost_section(group: RowGroup) -> TableSection:
    """Lays out what each row costs.

    Args:
        group: rows of a table.

    Returns:
        A line for each row; cells are dashes where no run says it.
    """
    lines, candidates = [], list[Candidate]()
    for index, row in enumerate(group.rows):
        of_row = {str(run.record.get("device") or MISSING) for run in row.runs}
        numbers = [_mean(row.runs, of) for of in COLUMNS.values()]
        cells = [row.title, str(len(row.runs)), _inputs(row.runs), *numbers, ", ".join(sorted(of_row))]
        lines.append(TableRow("", None, cells))
        candidates += [
            Candidate(index, 3 + place, cell, title, None)
            for place, (title, cell) in enumerate(zip(COLUMNS, numbers, strict=True))
        ]
    shown = [place for place in range(len(COLUMNS)) if any(line.cells[3 + place] != MISSING for line in lines)]
    kept = [0, 1, 2, *(3 + place for place in shown), 3 + len(COLUMNS)]
    header = ["Row", "Runs", "Input of one pass", *COLUMNS, "Device"]
    best = best_cells(candidates)
    return TableSection(
        id=f"cost-{group.id}",
        title=f"Cost: {group.table} on {group.data}",
        caption=_CAPTION,
        header=[header[place] for place in kept],
        rows=[TableRow("", None, [line.cells[place] for place in kept]) for line in lines],
        by_run=False,
        n_text=1,
        best={(row, kept.index(column)) for row, column in best},
    )


def _training_seconds(run: Run) -> float:
    """Time of every stage, one that contains another having been trained after it."""
    parts = [*(run.record.get("stages") or {}).values(), *(run.record.get("members") or {}).values()]
    times = [part.get("wall_time_s") for part in parts]
    return np.nan if not times or None in times else float(sum(times))


def _of_case(run: Run, what: str) -> float:
    return _known((run.record.get("cost_per_case") or {}).get(what))


def _known(value: Any) -> float:
    return np.nan if value is None else float(value)


COLUMNS: Final[dict[str, Callable[[Run], float]]] = {
    f"Parameters (M){_DOWN}": lambda run: summed_cost(run, "parameters") / 1e6,
    f"One pass (GFLOPs){_DOWN}": lambda run: summed_cost(run, "flops") / 1e9,
    f"One case (TFLOPs){_DOWN}": lambda run: _of_case(run, "flops") / 1e12,
    f"Training (s){_DOWN}": _training_seconds,
    f"Time per case (s){_DOWN}": lambda run: _of_case(run, "seconds"),
    f"Peak memory (GiB){_DOWN}": lambda run: _known(run.record.get("peak_memory_mib")) / 1024,
    f"GPU memory of one case (GiB){_DOWN}": lambda run: _of_case(run, "device_mib") / 1024,
}
"""Titles of the numbers, and what a run says of them; NaN where it does not."""


def _mean(runs: Iterable[Run], of: Callable[[Run], float]) -> str:
    known = [value for run in runs if not np.isnan(value := of(run))]
    return decimal(float(np.mean(known)), _digits(float(np.mean(known)))) if known else MISSING


def _digits(value: float) -> int:
    """Decimals that leave about four digits."""
    return next((digits for limit, digits in ((0.1, 4), (10, 3), (100, 2), (1000, 1)) if abs(value) < limit), 0)


def _inputs(runs: Iterable[Run]) -> str:
    """Shapes that the networks were measured on, each once."""
    shapes = [part.get("input_shape") for run in runs for part in counted_parts(run)]
    return ", ".join(dict.fromkeys(_TIMES.join(map(str, shape)) for shape in shapes if shape)) or MISSING
