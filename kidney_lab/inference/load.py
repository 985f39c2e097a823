"""Loads a trained method from its run folder."""

import json
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from kidney_lab.errors import InputError
from kidney_lab.inference.method import TrainedMethod
from kidney_lab.inference.postprocessing import PostProcessing
from kidney_lab.methods.pipeline import enabled_stages
from kidney_lab.methods.stage import Stage

CHECKPOINT = "best.ckpt"


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
    folders = {name: run / "stages" / name for name in enabled_stages(config.model.stages)}
    for folder in folders.values():
        if not (folder / CHECKPOINT).is_file():
            missing = (folder / CHECKPOINT).relative_to(run)
            raise InputError(f"run={run} has no {missing}: finish its training by resume={run}.")
    stages = {name: load_stage(config.model.stages[name], folder) for name, folder in folders.items()}
    return TrainedMethod(
        stages,
        device=target,
        precision=record["precision"],
        combine=instantiate(config.model.get("combine"), _convert_="all"),
        postprocessing=PostProcessing(**config.postprocessing),
    )


def load_stage(config: object, folder: Path) -> Stage:
    """One stage with the weights of its best checkpoint, and with what it took from the training cases.

    Args:
        config: of the stage.
        folder: that its training wrote.
    """
    checkpoint = folder / CHECKPOINT
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
