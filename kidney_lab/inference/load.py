"""Loads a trained method from its run folder."""

import json
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from kidney_lab.errors import InputError
from kidney_lab.inference.method import TrainedMethod
from kidney_lab.methods.stage import Stage


def load_method(run_dir: str | Path, device: str = "auto") -> TrainedMethod:
    """Loads the best checkpoint of every stage.

    Args:
        run_dir: folder that a training wrote.
        device: `auto` (a GPU if there is one), `cpu`, `cuda` or any of torch's names.

    Returns:
        An object with `segment(image_hu, spacing_mm)` and `segment_file(path)`.

    Raises:
        InputError: the folder is no run, or one of its stages is not trained.
    """
    run = Path(run_dir)
    for needed in ("config.yaml", "run.json"):
        if not (run / needed).is_file():
            raise InputError(
                f"run={run} is no run folder: it has no {needed}. Name the folder that a training printed."
            )
    config = OmegaConf.load(run / "config.yaml")
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    target = choose_device(device)
    stages = {name: load_stage(stage, run, str(name)) for name, stage in config.model.stages.items()}
    keep = config.postprocessing.keep
    return TrainedMethod(stages, device=target, precision=record["precision"], keep=keep)


def load_stage(config: object, run: Path, name: str) -> Stage:
    """One stage with the weights of its best checkpoint, and with what it took from the training cases."""
    checkpoint = run / "stages" / name / "best.ckpt"
    if not checkpoint.is_file():
        raise InputError(f"run={run} has no {checkpoint.relative_to(run)}: finish its training by resume={run}.")
    stage: Stage = instantiate(config, _convert_="all")
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    stage.module.load_state_dict(state)
    stage.restore(checkpoint.parent)
    return stage


def choose_device(name: str, key: str = "device") -> torch.device:
    """The device of a name; `auto` is a GPU if there is one.

    Args:
        name: `auto`, `cpu`, `cuda` or any of torch's names.
        key: of the setting, for messages.

    Returns:
        The device.

    Raises:
        InputError: there is no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"{key}={name} is unknown: choose auto, cpu or a GPU.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"{key}={name} is not there: this machine shows no CUDA GPU; choose {key}=cpu.")
    return device
