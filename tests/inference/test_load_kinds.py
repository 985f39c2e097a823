"""Every kind of method is loaded from its run and from its bundle by one call, and segments alike."""

import json

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import OmegaConf, open_dict

from kidney_lab.composition.messages import to_plain
from kidney_lab.composition.resolvers import register_resolvers
from kidney_lab.composition.search_path import config_folder
from kidney_lab.data.views import RoiView
from kidney_lab.export.bundle import export_bundle
from kidney_lab.geometry import Volume, grid_from_spacing
from kidney_lab.inference.combine import LastStage, NestedRegions
from kidney_lab.inference.ensemble import Ensemble
from kidney_lab.inference.load import load_method
from kidney_lab.methods.pipeline import enabled_stages
from kidney_lab.transforms.normalize import foreground_normalizer

STATISTICS = {"lower": -60.0, "upper": 250.0, "mean": 100.0, "std": 50.0, "n": 1000}


@pytest.fixture
def make_run(tmp_path):
    """Writes the run folder of a model at smoke size, as a training leaves it, with random weights."""

    def make(model, *overrides):
        register_resolvers()
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            everything = [f"model={model}", "trainer=smoke", "logger=none", "data.root=x", "hydra.mode=RUN", *overrides]
            config = compose("config", overrides=everything, return_hydra_config=True)
        HydraConfig.instance().set_config(config)
        with open_dict(config):
            del config["hydra"]  # whose values are known to a job alone
        folder = tmp_path / model
        folder.mkdir()
        torch.manual_seed(0)
        for name, stage_config in enabled_stages(config.model.stages).items():
            write_stage(folder / "stages" / name, instantiate(stage_config, _convert_="all"))
        OmegaConf.save(OmegaConf.create(to_plain(config)), folder / "config.yaml")
        record = {
            "name": model,
            "precision": "32-true",
            "status": "finished",
            "stages": {},
            "data": {"name": "phantom"},
        }
        (folder / "run.json").write_text(json.dumps(record))
        return folder

    return make


def write_stage(folder, stage):
    """What the training of a stage leaves, with a refit that is fitted."""
    folder.mkdir(parents=True)
    state = {
        name: torch.ones_like(value) if name.endswith(".fitted") else value
        for name, value in stage.module.state_dict().items()
    }
    torch.save({"state_dict": state, "epoch": 0}, folder / "best.ckpt")
    if foreground_normalizer(stage.intensity) is not None:
        (folder / "intensity.json").write_text(json.dumps(STATISTICS))
    if isinstance(stage.view, RoiView):
        (folder / "view.json").write_text(json.dumps({"size": [16, 16, 16]}))


@pytest.fixture
def scan():
    image = np.random.default_rng(0).integers(-200, 300, (6, 32, 36)).astype(np.int16)
    return Volume(image, grid_from_spacing((6, 32, 36), (6.0, 4.0, 4.0)))


def segmented(method, scan):
    """Label map and probabilities of a scan."""
    segmentation = method.segment_in_stages(scan)
    return segmentation.labels.array, segmentation.said.slab(segmentation.said.box[0])


@pytest.mark.parametrize(
    ("model", "combination", "stages"),
    [
        ("cascade_unet", LastStage, ["coarse", "fine"]),
        ("msalds", NestedRegions, ["coarse", "kidney", "mass", "tumor"]),
        pytest.param("vox2vox", LastStage, ["segmentation"], marks=pytest.mark.slow),
        pytest.param("ernet", LastStage, ["detector", "refit"], marks=pytest.mark.slow),
        pytest.param(
            "transfer_ensemble",
            Ensemble,
            ["test_resnet", "test_efficientnet", "test_byobnet"],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_bundle_segments_as_its_run(make_run, scan, tmp_path, model, combination, stages):
    run = make_run(model)
    bundle = export_bundle(run, tmp_path / "bundle", onnx=False)

    method = load_method(bundle, "cpu")
    assert isinstance(method.combination, combination)
    assert list(method.stages) == stages

    for found, expected in zip(segmented(method, scan), segmented(load_method(run, "cpu"), scan), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert not list(bundle.rglob("*.ckpt"))


def test_runs_of_several_kinds_are_averaged(make_run, scan):
    runs = [make_run("unet2d"), make_run("unet3d")]

    labels, probabilities = segmented(load_method(runs, "cpu"), scan)

    assert labels.shape == scan.array.shape
    alone = [segmented(load_method(run, "cpu"), scan)[1] for run in runs]
    torch.testing.assert_close(probabilities, (alone[0] + alone[1]) / 2)
