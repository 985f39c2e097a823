"""Run folders as training leaves them, and folders of scores as evaluations do, small."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from kidney_lab.data.nifti import write_volume
from kidney_lab.geometry import Volume, grid_from_spacing
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
            "stage,epoch,step,train/loss,val_patch/loss,val_case/tumor_dice,lr,"
            "train/accuracy,train/background_accuracy,val_patch/accuracy,val_patch/background_accuracy\n"
            "fine,0,10,1.5,1.6,,0.1,0.90,0.88,0.91,0.93\n"
            "fine,1,20,1.0,1.2,0.6,0.1,0.97,0.89,0.96,0.94\n"
            "fine,2,30,0.8,1.1,0.5,0.1,0.98,0.90,0.95,0.93\n"
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


@pytest.fixture
def make_run_with_scans(make_run: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """Writes a run whose scans, references and label maps are there; these lie `shift` columns beside the reference.

    A scan has 16 slices of 40 x 60 voxels of 3 x 1 x 1 mm and gets brighter from slice to slice. The kidney is in
    slices 3 to 12; its tumor, in 6 to 9, is largest in slice 9.
    """

    def make(folder: str = "run", *, shift: int = 1, **keywords: Any) -> Path:
        run = make_run(folder, **keywords)
        grid = grid_from_spacing((16, 40, 60), (3.0, 1.0, 1.0))
        reference = np.zeros(grid.shape, np.uint8)
        reference[3:13, 10:30, 20:40] = 1
        reference[6:10, 14:20, 24:30] = 2
        reference[9, 14:22, 24:32] = 2
        image = np.broadcast_to(np.arange(16, dtype=np.int16)[:, None, None] * 10, grid.shape)
        root = tmp_path / "kits"
        for case in DICE:
            write_volume(root / case / "imaging.nii.gz", Volume(image, grid))
            write_volume(root / case / "segmentation.nii.gz", Volume(reference, grid))
            moved = Volume(np.roll(reference, shift, axis=2), grid)
            write_volume(run / "predictions" / f"{case}.nii.gz", moved)
        data = {"name": "kits19", "root": str(root), "labels": ["kidney", "tumor"], "regions": ["tumor"]}
        data |= {"label_files": ["segmentation.nii.gz"], "synthesize_missing_images": False}
        config = yaml.safe_load((run / "config.yaml").read_text())
        (run / "config.yaml").write_text(yaml.safe_dump({**config, "data": data}))
        return run

    return make
