"""Fixtures of tests of tasks: a run whose network is a threshold, one of a cascade, and others' DICOM and web server.

Folders of tests are no packages, so that pytest imports each file by its path; this does the same.
"""

import importlib.util
from pathlib import Path

import pytest
import torch

from kidney_lab.tasks.stages import StageTraining
from tests.support.cascade_runs import train, write_case
from tests.support.made_runs import REGIONS, stage_config, write_run


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

THRESHOLDS_HU = {"kidney_and_mass": 100.5, "tumor": 300.5}


@pytest.fixture(scope="session")
def write_threshold_run():
    """Writes a run whose network marks what is brighter than a threshold: a convolution by a single voxel."""

    def write(folder, spacing=None, *, name="threshold-made", keep="all") -> Path:
        stage = stage_config(
            network={
                "_target_": "torch.nn.Conv3d",
                **{"in_channels": 1, "out_channels": len(REGIONS), "kernel_size": 1},
            },
            intensity={
                "_target_": "monai.transforms.ScaleIntensityRange",
                **{"a_min": 0.0, "a_max": 1000.0, "b_min": 0.0, "b_max": 1.0, "clip": False},
            },
            grid={"spacing": spacing, "crop_to_body": False},
            inferer={"roi_size": [16, 16, 16], "overlap": 0.25},
        )
        weights = {
            "weight": torch.full((len(REGIONS), 1, 1, 1, 1), 1000.0),  # so steep that a voxel is in or out
            "bias": -torch.tensor([THRESHOLDS_HU[region] for region in REGIONS]),
        }
        config = {
            "postprocessing": {"keep": keep, "drop_detached_lesions": keep != "all"},
            "data": {"name": "made", "regions": REGIONS},
        }
        record = {"name": name, "config_hash": "73fc448d599b", "seed": 0, "status": "finished"}
        started = {"started": f"today, into {folder.name}"}
        return write_run(folder, {"segmentation": weights}, stage=stage, config=config, record=record | started)

    return write


@pytest.fixture(scope="session")
def root(tmp_path_factory) -> Path:
    """Folder of six cases, and of the stores made of them."""
    folder = tmp_path_factory.mktemp("cases")
    for number in range(6):
        write_case(folder / "data", number)
    return folder


@pytest.fixture(scope="session")
def finished(root, tmp_path_factory) -> StageTraining:
    """A run whose two stages are trained, with priors by stage 1 itself."""
    return train(root, tmp_path_factory.mktemp("finished"))
