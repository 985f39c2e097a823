"""Trainings of the cascade at smoke size, on six small cases."""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from kidney_lab.composition.resolvers import register_resolvers
from kidney_lab.composition.search_path import config_folder, register_experiments
from kidney_lab.data.nifti import write_volume
from kidney_lab.geometry import Volume, grid_from_spacing
from kidney_lab.tasks.run_folder import RunFolder
from kidney_lab.tasks.stages import StageTraining

CPU = torch.device("cpu")
SHAPE, SPACING = (24, 36, 40), (6.0, 8.0, 8.0)


def write_case(folder: Path, number: int) -> None:
    """A body with two kidneys, a tumor and a cyst; brighter than what surrounds them."""
    rng = np.random.default_rng(number)
    d, h, w = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    label = np.zeros(SHAPE, np.uint8)
    for column in (11, 29):
        label[((d - 12) * 6) ** 2 + ((h - 20) * 8) ** 2 + ((w - column) * 8) ** 2 < 45**2] = 1
    label[((d - 12 - number % 3) * 6) ** 2 + ((h - 17) * 8) ** 2 + ((w - 10) * 8) ** 2 < 24**2] = 2
    label[11:14, 21:24, 28:31] = 3
    body = ((h - 18) / 16) ** 2 + ((w - 20) / 18) ** 2 < 1
    image = np.where(np.broadcast_to(body, SHAPE), 20 + 80 * label.astype(float), -1000) + rng.normal(0, 10, SHAPE)
    grid = grid_from_spacing(SHAPE, SPACING)
    write_volume(folder / f"case_{number:05d}" / "imaging.nii.gz", Volume(image.astype(np.int16), grid))
    write_volume(folder / f"case_{number:05d}" / "segmentation.nii.gz", Volume(label, grid))


def recipe(root: Path, *overrides: str, make: bool = False):
    """The cascade at smoke size on these cases, or on a phantom that is made."""
    register_resolvers()
    register_experiments()
    paths = [f"data.root={root / 'data'}", f"prepare.root={root / 'stores'}"]
    cases = [] if make else ["data.make=null"]
    fast = ["trainer=smoke", "data.num_workers=0", "prepare.workers=1", "+trainer.enable_progress_bar=false"]
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return compose("config", overrides=["model=cascade_unet", *cases, *paths, *fast, *overrides])


def training(root: Path, run: Path, *overrides: str, make: bool = False, sweep: bool = False) -> StageTraining:
    """A training in fresh objects, as a new process would have them; goes on with a run that is there."""
    config = recipe(root, *overrides, make=make)
    record = {"stages": {}, "commit": "abc", "dirty": False, "versions": {}}
    if (run / "run.json").is_file():
        record = json.loads((run / "run.json").read_text())
    dataset = instantiate(config.data, _convert_="all")
    folder = RunFolder(run, record, sweep=run.parent if sweep else None)
    return StageTraining(folder, config, dataset, device=CPU, precision="32-true")


def train(root: Path, run: Path, *overrides: str, make: bool = False, sweep: bool = False) -> StageTraining:
    made = training(root, run, *overrides, make=make, sweep=sweep)
    with made.run.recording(made.config):
        made.run.update(precision=made.precision)
        made.train()
    return made


def weights(run: Path, stage: str, name: str = "last") -> dict:
    return torch.load(run / "stages" / stage / f"{name}.ckpt", weights_only=True)["state_dict"]


def rewrite(run: Path, favoured: int, stage: str = "coarse") -> None:
    """Makes the best network of a stage call every voxel one label."""
    path = run / "stages" / stage / "best.ckpt"
    state = torch.load(path, weights_only=True)
    heads = [name for name in state["state_dict"] if name.endswith("bias") and "head" in name]
    assert heads
    for name in heads:
        state["state_dict"][name].zero_()[favoured] = 1e4
    torch.save(state, path)


def copied(run: Path, to: Path, *, unfinished: str | None = None) -> Path:
    """A copy of a run, without what a stage's training wrote."""
    shutil.copytree(run, to)
    if unfinished is not None:
        shutil.rmtree(to / "stages" / unfinished)
        record = json.loads((to / "run.json").read_text())
        del record["stages"][unfinished]
        (to / "run.json").write_text(json.dumps(record))
    return to
