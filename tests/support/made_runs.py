"""Run folders with small networks, as trainings leave them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets import BasicUNet
from omegaconf import OmegaConf

REGIONS = ["kidney_and_mass", "tumor"]
BASIC_UNET = {"spatial_dims": 3, "in_channels": 1, "out_channels": 2, "features": [4, 4, 4, 4, 4, 4]}
WINDOW = {
    "_target_": "monai.transforms.ScaleIntensityRange",
    **{"a_min": -79, "a_max": 304, "b_min": -1.0, "b_max": 1.0},
}


def stage_config(
    *,
    network: Mapping[str, Any] | None = None,
    intensity: Mapping[str, Any] = WINDOW,
    grid: Mapping[str, Any] | None = None,
    inferer: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Configuration of a supervised stage with the regions `REGIONS`.

    Args:
        network: None: a `BasicUNet`.
        intensity: of what it sees.
        grid: settings of `GridRecipe`.
        inferer: settings of the sliding window beside its windows of 32 voxels.
    """
    return {
        "_target_": "kidney_lab.methods.stage.Stage",
        "grid": {"_target_": "kidney_lab.data.prepare.GridRecipe", "spacing": None, **(grid or {})},
        "view": {
            "_target_": "kidney_lab.data.views.PatchView",
            "roi_size": [16, 16, 16],
            "samples_per_epoch": 2,
            "val_samples": 2,
            "foreground_fraction": 0.5,
        },
        "augment": {"_target_": "kidney_lab.transforms.augment.Augment"},
        "intensity": dict(intensity),
        "inferer": {"_target_": "monai.inferers.SlidingWindowInferer", "roi_size": [32, 32, 32], **(inferer or {})},
        "batch_size": 1,
        "module": {
            "_target_": "kidney_lab.methods.supervised.SupervisedSegmentation",
            "loss": {"_target_": "monai.losses.DiceCELoss", "sigmoid": True},
            "optimizer": {"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.1},
            "scheduler": {"_target_": "torch.optim.lr_scheduler.ConstantLR", "_partial_": True},
            "output": {
                "_target_": "kidney_lab.methods.output.build_output",
                **{"kind": "regions", "labels": ["kidney", "tumor"], "regions": REGIONS},
            },
            "network": dict(network or {"_target_": "monai.networks.nets.BasicUNet", **BASIC_UNET}),
        },
    }


def basic_unet(seed: int) -> dict[str, torch.Tensor]:
    """Random weights of the network that `stage_config` has by default."""
    torch.manual_seed(seed)
    return BasicUNet(**BASIC_UNET).state_dict()


def write_checkpoint(run: Path, stage: str, weights: Mapping[str, torch.Tensor]) -> None:
    """Makes weights of a network the best ones of a run's stage."""
    folder = run / "stages" / stage
    folder.mkdir(parents=True, exist_ok=True)
    state = {f"network.{name}": value for name, value in weights.items()}
    torch.save({"state_dict": state, "epoch": 3}, folder / "best.ckpt")


def write_run(
    folder: Path,
    weights: Mapping[str, Mapping[str, torch.Tensor]],
    *,
    stage: Mapping[str, Any],
    config: Mapping[str, Any] | None = None,
    record: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a run folder.

    Args:
        folder: of the run.
        weights: of the stages' networks, by the stages' names.
        stage: configuration of each.
        config: of what is beside the stages.
        record: of what `run.json` says beside the precision.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = {"stages": {name: dict(stage) for name in weights}}
    OmegaConf.save({"model": model, "postprocessing": {"keep": "all"}, **(config or {})}, folder / "config.yaml")
    (folder / "run.json").write_text(json.dumps({"precision": "32-true", **(record or {})}))
    for name, state in weights.items():
        write_checkpoint(folder, name, state)
    return folder
