import json
import shutil

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from kidney_lab.errors import InputError
from kidney_lab.export import bundle as export
from kidney_lab.export.bundle import export_bundle
from kidney_lab.export.onnx import NotExportableError
from kidney_lab.geometry import Volume, grid_from_spacing
from kidney_lab.inference.load import load_method
from kidney_lab.inference.stage_weights import WEIGHTS, read_weights
from tests.support.made_runs import basic_unet, stage_config, write_run

HOME = "/" + "home/jo"
STAGE = stage_config(
    intensity={"_target_": "kidney_lab.transforms.normalize.NormalizeForeground", "percentiles": [0.5, 99.5]}
)
FIGURES = {"mean": 0.75, "std": 0.1, "median": 0.8, "n": 3, "n_undefined": 0}


def trained(folder, stages=("segmentation",), seed=0):
    """A run folder with stages of random weights."""
    config = {
        "data": {"name": "kits23", "root": f"{HOME}/kits23", "regions": ["kidney_and_mass", "tumor"]},
        "logger": {"entity": "my-lab"},
    }
    record = {
        "name": "unet3d-kits23",
        "status": "finished",
        "paths": {"data.root": f"{HOME}/kits23"},
        "seed": 0,
        "data": {"name": "kits23", "excluded": ["Doe_Jo"]},
    }
    weights = {name: basic_unet(10 * seed + number) for number, name in enumerate(stages)}
    write_run(folder, weights, stage=STAGE, config=config, record=record)
    (folder / "summary.json").write_text(json.dumps({"tumor": {"dice": FIGURES}}))
    intensity = {"lower": -60.0, "upper": 250.0, "mean": 100.0, "std": 50.0, "n": 1000}
    for name in stages:
        (folder / "stages" / name / "intensity.json").write_text(json.dumps(intensity))
    return folder


@pytest.fixture
def run(tmp_path):
    return trained(tmp_path / "a run")


def files_of(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def scan() -> Volume:
    shape = (18, 20, 22)
    values = np.random.default_rng(0).integers(-200, 300, shape).astype(np.int16)
    return Volume(values, grid_from_spacing(shape, (3.0, 1.0, 1.0)))


def test_a_bundle_segments_as_its_run(run, tmp_path):
    bundle = export_bundle(run, tmp_path / "shared" / "bundle", onnx=False)
    of_run = load_method(run, "cpu").segment_volume(scan()).array
    np.testing.assert_array_equal(load_method(bundle, "cpu").segment_volume(scan()).array, of_run)
    assert len(np.unique(of_run)) > 1


def test_a_bundle_can_be_exported_again(run, tmp_path):
    first = export_bundle(run, tmp_path / "first", onnx=False)
    second = export_bundle(first, tmp_path / "second", onnx=False)
    assert files_of(second) == files_of(first)
    for name in ("README.md", "config.yaml", "run.json", "summary.json"):
        assert (second / name).read_text() == (first / name).read_text()


def test_an_ensemble_of_runs_takes_its_members_with_it(tmp_path):
    members = [trained(tmp_path / name, seed=seed) for seed, name in enumerate(("one", "two"))]
    run = tmp_path / "ensemble"
    run.mkdir()
    config = OmegaConf.load(members[0] / "config.yaml")
    combination = {"_target_": "kidney_lab.inference.ensemble.Ensemble", "combine": "mean", "weights": [1, 3]}
    config.model = {"stages": {}, "member_runs": [str(path) for path in members], "combination": combination}
    OmegaConf.save(config, run / "config.yaml")
    (run / "run.json").write_text((members[0] / "run.json").read_text())
    of_run = load_method(run, "cpu").segment_volume(scan()).array

    bundle = export_bundle(run, tmp_path / "bundle")
    assert f"members/2/stages/segmentation/{WEIGHTS}" in files_of(bundle)
    moved = bundle.rename(tmp_path / "moved")
    for path in members:
        shutil.rmtree(path)
    np.testing.assert_array_equal(load_method(moved, "cpu").segment_volume(scan()).array, of_run)
    assert str(tmp_path) not in (moved / "config.yaml").read_text()


def test_a_bundle_holds_what_others_need_and_nothing_of_the_machine(run, tmp_path):
    bundle = export_bundle(run, tmp_path / "bundle", onnx=False)
    part = "stages/segmentation"
    assert files_of(bundle) == [
        "README.md", "config.yaml", "run.json", f"{part}/intensity.json", f"{part}/{WEIGHTS}", "summary.json",
    ]  # fmt: skip
    for name in ("README.md", "config.yaml", "run.json", "summary.json"):
        text = (bundle / name).read_text()
        assert not any(private in text for private in (HOME, "Doe", "my-lab", str(tmp_path)))
    assert (bundle / "summary.json").read_text() == json.dumps({"tumor": {"dice": FIGURES}}, indent=2) + "\n"
    assert "| Tumor | Dice ↑ | 0.750 | 0.100 | 0.800 | 3 | 0 |" in (bundle / "README.md").read_text()


def test_every_stage_has_its_weights_and_several_have_no_onnx(tmp_path):
    run = trained(tmp_path / "run", ("coarse", "fine"))
    bundle = export_bundle(run, tmp_path / "bundle")
    for name in ("coarse", "fine"):
        expected = torch.load(run / "stages" / name / "best.ckpt", weights_only=True)["state_dict"]
        found = read_weights(bundle / "stages" / name / WEIGHTS)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], value) for key, value in expected.items())
    assert not [name for name in files_of(bundle) if name.endswith(".onnx")]


def test_the_network_of_a_single_stage_is_written_as_onnx_in_the_shape_of_its_view(run, tmp_path, monkeypatch):
    asked = {}

    def written(network, path, input_shape):
        asked.update(network=type(network).__name__, shape=tuple(input_shape))
        path.write_text("onnx")
        return 0.0

    monkeypatch.setattr(export, "require_packages", lambda: None)
    monkeypatch.setattr(export, "export_onnx", written)
    bundle = export_bundle(run, tmp_path / "bundle")
    assert asked == {"network": "BasicUNet", "shape": (1, 16, 16, 16)}
    assert "stages/segmentation/model.onnx" in files_of(bundle)
    assert "model.onnx" in (bundle / "README.md").read_text()


def test_a_network_that_onnx_cannot_hold_is_left_out_and_named(run, tmp_path, monkeypatch, caplog):
    def refuse(network, path, input_shape):
        raise NotExportableError("BasicUNet holds what ONNX has not (roi_align)")

    monkeypatch.setattr(export, "require_packages", lambda: None)
    monkeypatch.setattr(export, "export_onnx", refuse)
    bundle = export_bundle(run, tmp_path / "bundle")
    assert "The bundle has no model.onnx: BasicUNet holds what ONNX has not (roi_align)." in caplog.text
    assert "model.onnx" not in (bundle / "README.md").read_text()


def test_an_export_that_fails_leaves_nothing_behind(run, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "model_card", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_bundle(run, tmp_path / "bundle", onnx=False)
    assert [path.name for path in tmp_path.iterdir()] == ["a run"]


def test_what_is_in_the_place_of_the_bundle_is_not_touched(run, tmp_path):
    (tmp_path / "empty").mkdir()
    assert files_of(export_bundle(run, tmp_path / "empty", onnx=False))
    for output in (run, run / "config.yaml", tmp_path / "empty"):
        before = files_of(run)
        with pytest.raises(InputError, match=r"is there already: name a folder that is not, or an empty one"):
            export_bundle(run, output, onnx=False)
        assert files_of(run) == before


def test_a_run_that_is_not_finished_is_refused(run, tmp_path):
    (run / "stages" / "segmentation" / "best.ckpt").unlink()
    with pytest.raises(InputError, match=r"has no stages/segmentation/best\.ckpt"):
        export_bundle(run, tmp_path / "bundle", onnx=False)
    assert not (tmp_path / "bundle").exists()
