"""What members of a method say of a scan, given as arrays, a run folder, and what could be wrong with one."""

import json
import os
from dataclasses import dataclass

import pytest
import torch
from monai.networks.nets import BasicUNet
from omegaconf import OmegaConf

from kidney_lab.methods.output import Output


@dataclass(frozen=True, eq=False)
class Said:
    """Probabilities that are known, as `kidney_lab.inference.slabs.Slabs`.

    Args:
        probabilities: `(C, *box)`.
        output: meaning of the channels.
        box: of the scan's grid.
        shape: of that grid.
    """

    probabilities: torch.Tensor
    output: Output
    box: tuple[slice, slice, slice]
    shape: tuple[int, int, int]

    def slab(self, part: slice) -> torch.Tensor:
        top = self.box[0].start
        assert part.start == part.stop or self.box[0].start <= part.start <= part.stop <= self.box[0].stop
        return self.probabilities[:, part.start - top : part.stop - top]


@pytest.fixture
def said():
    """Makes what a member says out of values `(C, *box)`; without a box they are of the whole scan."""

    def make(values, output, box=None, shape=None) -> Said:
        probabilities = torch.as_tensor(values, dtype=torch.float32)
        shape = shape or tuple(probabilities.shape[1:])
        return Said(probabilities, output, box or tuple(slice(0, n) for n in shape), shape)

    return make


NETWORK = {"spatial_dims": 3, "in_channels": 1, "out_channels": 2, "features": [4, 4, 4, 4, 4, 4]}
STAGE = {
    "_target_": "kidney_lab.methods.stage.Stage",
    "grid": {"_target_": "kidney_lab.data.prepare.GridRecipe", "spacing": None},
    "view": {
        "_target_": "kidney_lab.data.views.PatchView",
        "roi_size": [16, 16, 16],
        "samples_per_epoch": 2,
        "val_samples": 2,
        "foreground_fraction": 0.5,
    },
    "augment": {"_target_": "kidney_lab.transforms.augment.Augment"},
    "intensity": {
        "_target_": "monai.transforms.ScaleIntensityRange", "a_min": -79, "a_max": 304, "b_min": -1.0, "b_max": 1.0,
    },
    "inferer": {"_target_": "monai.inferers.SlidingWindowInferer", "roi_size": [32, 32, 32]},
    "batch_size": 1,
    "module": {
        "_target_": "kidney_lab.methods.supervised.SupervisedSegmentation",
        "loss": {"_target_": "monai.losses.DiceCELoss", "sigmoid": True},
        "optimizer": {"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.1},
        "scheduler": {"_target_": "torch.optim.lr_scheduler.ConstantLR", "_partial_": True},
        "output": {
            "_target_": "kidney_lab.methods.output.build_output",
            "kind": "regions",
            "labels": ["kidney", "tumor"],
            "regions": ["kidney_and_mass", "tumor"],
        },
        "network": {"_target_": "monai.networks.nets.BasicUNet", **NETWORK},
    },
}  # fmt: skip


@pytest.fixture
def write_weights():
    """Gives a run folder other random weights."""

    def write(folder, *, seed):
        torch.manual_seed(seed)
        weights = {f"network.{name}": value for name, value in BasicUNet(**NETWORK).state_dict().items()}
        torch.save({"state_dict": weights, "epoch": 3}, folder / "stages" / "segmentation" / "best.ckpt")

    return write


@pytest.fixture
def run(tmp_path, write_weights):
    """A run folder with one stage of random weights."""
    folder = tmp_path / "a run"
    (folder / "stages" / "segmentation").mkdir(parents=True)
    config = {"model": {"stages": {"segmentation": STAGE}}, "postprocessing": {"keep": "all"}}
    OmegaConf.save(config, folder / "config.yaml")
    (folder / "run.json").write_text(json.dumps({"precision": "32-true"}))
    write_weights(folder, seed=4)
    return folder


@pytest.fixture
def touching():
    """Makes what runs code when it is unpickled: it makes a file."""

    class Touch:
        def __init__(self, path):
            self.path = path

        def __reduce__(self):
            return os.mknod, (str(self.path),)

    return Touch
