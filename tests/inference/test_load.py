import json

import numpy as np
import pytest
import torch
from monai.networks.nets import BasicUNet
from omegaconf import OmegaConf

import kidney_lab
from kidney_lab.errors import InputError
from kidney_lab.inference.load import choose_device, load_method

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
def run(tmp_path):
    """A run folder with one stage of random weights."""
    folder = tmp_path / "a run"
    (folder / "stages" / "segmentation").mkdir(parents=True)
    config = {"model": {"stages": {"segmentation": STAGE}}, "postprocessing": {"keep": "all"}}
    OmegaConf.save(config, folder / "config.yaml")
    (folder / "run.json").write_text(json.dumps({"precision": "32-true"}))
    torch.manual_seed(4)
    weights = {f"network.{name}": value for name, value in BasicUNet(**NETWORK).state_dict().items()}
    torch.save({"state_dict": weights, "epoch": 3}, folder / "stages" / "segmentation" / "best.ckpt")
    return folder


def test_a_run_is_loaded_with_its_best_weights(run):
    method = load_method(run, "cpu")

    expected = torch.load(run / "stages" / "segmentation" / "best.ckpt", weights_only=True)["state_dict"]
    loaded = method.stages["segmentation"].module.state_dict()
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], value) for name, value in expected.items())
    assert (method.device, method.precision) == (torch.device("cpu"), "32-true")


def test_a_loaded_method_segments_and_always_alike(run):
    image = np.random.default_rng(0).integers(-200, 300, (18, 20, 22)).astype(np.int16)

    labels = [load_method(str(run), "cpu").segment(image, (3.0, 1.0, 1.0)) for _ in range(2)]

    assert labels[0].shape == image.shape
    assert set(np.unique(labels[0])) <= {0, 1, 2}
    np.testing.assert_array_equal(*labels)


def test_the_package_offers_it():
    assert kidney_lab.load_method is load_method


@pytest.mark.parametrize("missing", ["config.yaml", "run.json"])
def test_a_folder_that_is_no_run_is_refused_with_what_it_lacks(run, missing):
    (run / missing).unlink()

    with pytest.raises(InputError, match=rf"run=.*a run is no run folder: it has no {missing}"):
        load_method(run)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"run=.*nowhere is no run folder"):
        load_method(tmp_path / "nowhere")


def test_a_stage_without_a_checkpoint_is_refused_and_the_way_on_is_named(run):
    (run / "stages" / "segmentation" / "best.ckpt").unlink()

    with pytest.raises(
        InputError, match=r"has no stages/segmentation/best\.ckpt: finish its training by resume=.*a run"
    ):
        load_method(run)


class TestStatistics:
    @pytest.fixture
    def normalised(self, run):
        """The run of a stage that normalises by the foreground of its training cases."""
        config = OmegaConf.load(run / "config.yaml")
        config.model.stages.segmentation.intensity = {
            "_target_": "kidney_lab.transforms.normalize.NormalizeForeground", "percentiles": [0.5, 99.5],
        }  # fmt: skip
        OmegaConf.save(config, run / "config.yaml")
        statistics = {"lower": -60.0, "upper": 250.0, "mean": 100.0, "std": 50.0, "n": 1000}
        (run / "stages" / "segmentation" / "intensity.json").write_text(json.dumps(statistics))
        return run

    def test_prediction_normalises_as_the_training_did_without_its_store(self, normalised):
        stage = load_method(normalised, "cpu").stages["segmentation"]

        seen = stage.intensity(torch.tensor([-1000.0, 0.0, 150.0, 1000.0]))

        assert seen.tolist() == pytest.approx([-3.2, -2.0, 1.0, 3.0])

    def test_it_is_refused_without_the_statistics(self, normalised):
        (normalised / "stages" / "segmentation" / "intensity.json").unlink()

        with pytest.raises(InputError, match=r"segmentation lacks a readable intensity\.json"):
            load_method(normalised)


class TestDevices:
    @pytest.mark.parametrize(("there", "chosen"), [(True, "cuda"), (False, "cpu")])
    def test_auto_is_a_gpu_if_there_is_one(self, monkeypatch, there, chosen):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: there)

        assert choose_device("auto") == torch.device(chosen)

    def test_a_device_that_is_named_is_taken(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

        assert choose_device("cpu") == torch.device("cpu")
        assert choose_device("cuda:0") == torch.device("cuda:0")

    @pytest.mark.parametrize("name", ["cuda", "cuda:1"])
    def test_a_gpu_that_is_not_there_is_refused(self, monkeypatch, name):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

        with pytest.raises(InputError, match=rf"device={name} is not there: .* choose device=cpu"):
            choose_device(name)

    @pytest.mark.parametrize("name", ["gpu", "CPU0", ""])
    def test_an_unknown_name_is_refused_with_the_choices(self, name):
        with pytest.raises(InputError, match=f"device={name} is unknown: choose auto, cpu or a GPU"):
            choose_device(name)
