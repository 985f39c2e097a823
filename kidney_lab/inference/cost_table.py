"""`cost.csv` of a run: what the segmentation of each case took.

Columns `case,seconds,peak_mib[,device_mib],windows,flops`, see `CaseCost`; `device_mib` only where a GPU computed. Each
process that segments keeps its cases in files of their own first, so that ranks do not meet in one file and a killed
test phase loses no case that it had done.
"""

import json
import shutil
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from kidney_lab.files import write_text
from kidney_lab.inference.cost import CaseCost

PARTS = "costs"
"""Folder of what is not in the table yet."""


def keep_cost(run: Path, case: str, cost: CaseCost) -> None:
    """Keeps the cost of one case until all are gathered."""
    write_text(run / PARTS / f"{case}.json", json.dumps({"case": case, **asdict(cost)}) + "\n")


def gather_costs(run: Path, cases: Collection[str]) -> pd.DataFrame:
    """Puts what was kept into `cost.csv`, beside what stands there from before an interruption.

    Args:
        run: the run folder.
        cases: that count; others are left out.

    Returns:
        The table, sorted by case; empty where nothing was measured, and then no file is written.
    """
    file = run / "cost.csv"
    kept = sorted((run / PARTS).glob("[!.]*.json"))  # those with a dot were torn when a process was killed
    parts = [json.loads(path.read_text(encoding="utf-8")) for path in kept]
    before = pd.read_csv(file, dtype={"case": str}).to_dict("records") if file.is_file() else []
    by_case = {str(row["case"]): row for row in (*before, *parts)}
    table = pd.DataFrame([by_case[case] for case in sorted(by_case) if case in cases])
    if not table.empty:
        write_text(file, table.dropna(axis="columns", how="all").to_csv(index=False, lineterminator="\n"))
    if (run / PARTS).is_dir():
        shutil.rmtree(run / PARTS)
    return table


def summarize_costs(table: pd.DataFrame) -> dict[str, Any] | None:
    """What `run.json` says of one case: the median of times and operations, the largest of memories.

    Args:
        table: as `gather_costs` gives it.

    Returns:
        `n` cases that were measured, `seconds`, `windows` and `flops` (medians), `peak_mib` and, from a GPU,
        `device_mib` (largest); None without any case.
    """
    if table.empty:
        return None
    summary: dict[str, Any] = {"n": len(table)}
    summary |= {name: float(table[name].median()) for name in ("seconds", "windows", "flops")}
    memories = [name for name in ("peak_mib", "device_mib") if name in table and table[name].notna().any()]
    return summary | {name: float(table[name].max()) for name in memories}
