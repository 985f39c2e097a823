"""Fixtures of tests of tasks: a run whose network is a threshold, and others' DICOM and web server.

Folders of tests are no packages, so that pytest imports each file by its path; this does the same.
"""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf


def fixtures_of(*place):
    """The module of another folder's fixtures."""
    path = Path(__file__).parents[1].joinpath(*place, "conftest.py")
    spec = importlib.util.spec_from_file_location("_".join((*place, "fixtures")), path)
    shared = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(shared)
    return shared


_download, _data = fixtures_of("data", "download"), fixtures_of("data")
server, challenge, scan, mask = _download.server, _download.challenge, _download.scan, _download.mask
write_series = _data.write_series

REGIONS = ["kidney_and_mass", "tumor"]
THRESHOLDS_HU = {"kidney_and_mass": 100.5, "tumor": 300.5}


@pytest.fixture(scope="session")
def write_threshold_run():
    """Writes a run whose network marks what is brighter than a threshold: a convolution by a single voxel."""

    def write(folder, spacing=None, *, name="threshold-made", keep="all") -> Path:
        stage = {
            "_target_": "kidney_lab.methods.stage.Stage",
            "grid": {"_target_": "kidney_lab.data.prepare.GridRecipe", "spacing": spacing, "crop_to_body": False},
            "view": {
                "_target_": "kidney_lab.data.views.PatchView",
                "roi_size": [16, 16, 16],
                "samples_per_epoch": 2,
                "val_samples": 2,
                "foreground_fraction": 0.5,
            },
            "augment": {"_target_": "kidney_lab.transforms.augment.Augment"},
            "intensity": {
                "_target_": "monai.transforms.ScaleIntensityRange",
                **{"a_min": 0.0, "a_max": 1000.0, "b_min": 0.0, "b_max": 1.0, "clip": False},
            },
            "inferer": {"_target_": "monai.inferers.SlidingWindowInferer", "roi_size": [16, 16, 16], "overlap": 0.25},
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
                "network": {
                    "_target_": "torch.nn.Conv3d",
                    **{"in_channels": 1, "out_channels": len(REGIONS), "kernel_size": 1},
                },
            },
        }
        config = {
            "model": {"stages": {"segmentation": stage}},
            "postprocessing": {"keep": keep, "drop_detached_lesions": keep != "all"},
            "data": {"name": "made", "regions": REGIONS},
        }
        part = folder / "stages" / "segmentation"
        part.mkdir(parents=True)
        OmegaConf.save(config, folder / "config.yaml")
        record = {"name": name, "config_hash": "73fc448d599b", "seed": 0, "precision": "32-true", "status": "finished"}
        (folder / "run.json").write_text(json.dumps(record | {"started": f"today, into {folder.name}"}))
        weight = torch.full((len(REGIONS), 1, 1, 1, 1), 1000.0)  # so steep that a voxel is in or out
        bias = -torch.tensor(list(THRESHOLDS_HU.values()))
        torch.save({"state_dict": {"network.weight": weight, "network.bias": bias}}, part / "best.ckpt")
        return folder

    return write
