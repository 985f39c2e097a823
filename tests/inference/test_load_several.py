"""Loading several runs as one method."""

import shutil

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from kidney_lab.errors import InputError
from kidney_lab.export.bundle import export_bundle
from kidney_lab.geometry import Volume, grid_from_spacing
from kidney_lab.inference.load import load_method


def change_regions(run, regions):
    config = OmegaConf.load(run / "config.yaml")
    output = config.model.stages.segmentation.module.output
    output.regions, output.labels = regions, ["kidney", "tumor", "cyst"]
    OmegaConf.save(config, run / "config.yaml")


@pytest.fixture
def folds(run, write_weights):
    """Three runs of one configuration, each of its own random weights."""
    folders = [run, run.with_name("b"), run.with_name("c")]
    for seed, folder in enumerate(folders[1:], start=5):
        shutil.copytree(run, folder)
        write_weights(folder, seed=seed)
    return folders


@pytest.fixture
def scan():
    image = np.random.default_rng(0).integers(-200, 300, (18, 20, 22)).astype(np.int16)
    return Volume(image, grid_from_spacing(image.shape, (3.0, 1.0, 1.0)))


def test_their_probabilities_are_averaged(folds, scan):
    said = load_method(folds, "cpu").segment_in_stages(scan).said
    alone = [load_method(fold, "cpu").segment_in_stages(scan).said for fold in folds]

    part = said.box[0]
    mean = torch.stack([one.slab(part) for one in alone]).mean(0)
    torch.testing.assert_close(said.slab(part), mean)
    assert not torch.allclose(alone[0].slab(part), mean, atol=1e-3)


def test_one_run_is_that_run_and_bundles_and_runs_go_together(folds, scan, tmp_path):
    bundle = export_bundle(folds[1], tmp_path / "bundle", onnx=False)

    assert load_method(folds[:1], "cpu").members == {}
    mixed = load_method([folds[0], str(bundle)], "cpu").segment_volume(scan).array
    np.testing.assert_array_equal(mixed, load_method(folds[:2], "cpu").segment_volume(scan).array)


def test_a_run_stands_once_and_there_is_one(folds):
    with pytest.raises(InputError, match=r"^run=\[.*\] names .*a run twice: name every run once\.$"):
        load_method([folds[0], folds[1], folds[1] / ".." / "a run"])
    with pytest.raises(InputError, match=r"^run=\[\] names no run"):
        load_method([])


def test_runs_that_are_cleaned_differently_are_refused(folds):
    config = OmegaConf.load(folds[1] / "config.yaml")
    config.postprocessing.keep = "largest"
    OmegaConf.save(config, folds[1] / "config.yaml")

    with pytest.raises(InputError, match=r"b\] differ in postprocessing \({'keep': 'all'} and {'keep': 'larg"):
        load_method(folds, "cpu")


def test_what_other_regions_are_known_is_averaged_by_region(folds, scan):
    change_regions(folds[1], ["kidney_and_mass", "mass"])

    method = load_method(folds[:2], "cpu")

    assert method.output.regions == ("kidney_and_mass", "mass", "tumor")
    assert method.segment_volume(scan).array.any()


def test_regions_that_do_not_nest_are_refused_before_a_scan_is_read(folds):
    change_regions(folds[1], ["tumor"])
    change_regions(folds[2], ["kidney"])

    with pytest.raises(InputError, match=r"^run=\[.*\] cannot be averaged: .*nested"):
        load_method(folds[1:], "cpu")
