"""Run folders as training leaves them, and folders of scores as evaluations do, small."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from kidney_lab.metrics import metrics_frame, write_metrics
from kidney_lab.metrics.strata import strata_frame, write_strata

DICE = {"case_00001": 0.9, "case_00002": 0.5, "case_00003": 0.7, "case_00004": float("nan")}


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Writes a run folder; keywords replace what its run.json says."""

    def make(folder: str = "run", dice: dict[str, float] | None = None, **record: Any) -> Path:
        run = tmp_path / folder
        run.mkdir(parents=True)
        (run / "config.yaml").write_text("model:\n  name: <unet> & more\n")
        whole: dict[str, Any] = {
            "status": "finished",
            "name": "unet3d-kits19",
            "overrides": ["model=unet3d", "data=kits19"],
            "commit": "0123456789abcdef",
            "dirty": False,
            "seed": 7,
            "device": "Test CPU",
            "precision": "32-true",
            "versions": {"torch": "2.13.0"},
            "wall_time_s": 7342.5,
            "peak_memory_mib": 2048.0,
            "started": "2025-11-21T12:00:00+00:00",
            "data": {"name": "kits19", "synthesized": False, "n_train": 8, "n_val": 2, "n_test": 4, "split_hash": "a"},
            "stages": {
                "fine": {
                    "parameters": 5_600_000,
                    "flops": 412_000_000_000,
                    "input_shape": [1, 1, 96, 96, 96],
                    "epochs": 3,
                    "steps": 30,
                    "wall_time_s": 250,
                    "best": {"monitor": "val_case/tumor_dice", "value": 0.6, "epoch": 1},
                }
            },
        }
        (run / "run.json").write_text(json.dumps({**whole, **record}))
        (run / "epochs.csv").write_text(
            "stage,epoch,step,train/loss,val_patch/loss,val_case/tumor_dice,lr\n"
            "fine,0,10,1.5,1.6,,0.1\nfine,1,20,1.0,1.2,0.6,0.1\nfine,2,30,0.8,1.1,0.5,0.1\n"
        )
        values = DICE if dice is None else dice
        if values:
            scores = {
                case: {
                    ("kidney_and_mass", "dice"): 0.95,
                    ("kidney_and_mass", "surface_dice"): 0.9,
                    ("tumor", "dice"): value,
                    ("tumor", "surface_dice"): value / 2,
                }
                for case, value in values.items()
            }
            write_metrics(metrics_frame(scores), run)
        return run

    return make


@pytest.fixture
def write_row(make_run: Callable[..., Path]) -> Callable[..., Path]:
    """Writes a run of a row of a table with these scores by case; `compare` is what it was started to compare."""

    def write(folder: str, row: str, scores: dict[str, Any], *, table: str, compare: Any = None, **record: Any) -> Path:
        record["overrides"] = [*record.get("overrides", [f"+experiments={table}"]), f"experiment.row='{row}'"]
        record.setdefault("data", {"name": "kits19", "synthesized": False, "split_hash": "a"})
        run = make_run(folder, {}, **record)
        experiment = {"table": table, "row": row, "compare": compare}
        (run / "config.yaml").write_text(yaml.safe_dump({"seed": 0, "experiment": experiment}))
        if scores:
            write_metrics(metrics_frame(scores), run)
        return run

    return write


@pytest.fixture
def make_scores(tmp_path: Path) -> Callable[..., Path]:
    """Writes a folder of scores of the same cases; `sizes` writes the strata of the tumors too."""

    def make(folder: str = "nnunet", *, gain: float = 0.05, sizes: dict[str, str] | None = None) -> Path:
        scores = {
            case: {("tumor", "dice"): value + gain, ("tumor", "surface_dice"): value / 2}
            for case, value in DICE.items()
        }
        write_metrics(metrics_frame(scores), tmp_path / folder)
        if sizes is not None:
            write_strata(strata_frame({case: {"size": size} for case, size in sizes.items()}), tmp_path / folder)
        return tmp_path / folder

    return make


@pytest.fixture
def agreement(tmp_path: Path) -> Path:
    """A folder that says how far annotators agree, of one case that was scored and one that was not."""
    folder = tmp_path / "human"
    scores = {case: {("tumor", "dice"): 0.96, ("cyst", "dice"): 0.9} for case in ("case_00001", "case_00100")}
    write_metrics(metrics_frame(scores), folder)
    (folder / "agreement.json").write_text('{"surface": "surfel", "score": "kits23"}\n')
    return folder
