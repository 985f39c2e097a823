"""What the tasks make of ERNet: model=ernet."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate

from kidney_lab.composition.resolvers import register_resolvers
from kidney_lab.composition.search_path import config_folder
from kidney_lab.data.nifti import read_volume, write_volume
from kidney_lab.errors import InputError
from kidney_lab.geometry import Volume
from kidney_lab.inference.method import TrainedMethod
from kidney_lab.inference.postprocessing import PostProcessing
from kidney_lab.methods.detection import region_maps
from kidney_lab.methods.pipeline import enabled_stages
from kidney_lab.metrics.table import read_metrics
from kidney_lab.tasks.settings import check_settings
from kidney_lab.tasks.testing import segment_scored_cases


def composed(*overrides):
    register_resolvers()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        everything = ["model=ernet", "trainer=smoke", "logger=none", "data.root=x", "hydra.mode=RUN", *overrides]
        config = compose("config", overrides=everything, return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    return config


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["model.refit.enabled=false"],
        ["data=kits19", "view.neighbours=1", "model.mask_activation=softmax"],
        ["model.refit.groups=kmeans", "model.roi.scale=inf", "model.heatmap.layer=conv5_mask"],
    ],
)
def test_its_settings_work(overrides):
    check_settings(composed(*overrides))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["+model.stages.detector.enabled=false"],
            r"The stage refit contains the stage detector, which is not enabled",
        ),
        (["model.weights=nowhere.pt"], r"model\.weights=nowhere\.pt is no file"),
        (["view.neighbours=2"], r"takes slices of 1 or 3 channels, not 5: set view\.neighbours to 0 or 1"),
        (["model.refit.groups=x"], r"model\.refit\.groups=x is unknown: choose one of heatmap, kmeans, none"),
        (["model.refit.enabled=no"], r"model\.refit\.enabled=no is no switch"),
        (["model.heatmap.support=x"], r"model\.heatmap\.support=x is unknown: choose roi or reference"),
        (["loss=dice_ce"], r"DiceCELoss is no loss of a detector: choose loss=mask_rcnn"),
    ],
)
def test_settings_that_cannot_work_are_refused(overrides, message):
    from kidney_lab.composition.messages import USER_ERRORS, describe

    with pytest.raises(USER_ERRORS) as caught:
        check_settings(composed(*overrides))
    with pytest.raises(InputError, match=message):
        raise InputError(describe(caught.value, []))


def test_the_paper_s_size_asks_for_weights_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    with pytest.raises(
        InputError, match=r"model\.weights=coco with model\.backbone=resnet101 needs resnet101-\S+\.pth"
    ):
        check_settings(composed("data=kits19", "preset=full"))


@pytest.mark.parametrize(("weights", "norm"), [("none", "group"), ("imagenet", "frozen_batch")])
def test_without_pretrained_weights_there_are_no_statistics_to_freeze(weights, norm):
    assert composed(f"model.weights={weights}").model.norm == norm


def test_without_the_refit_the_result_is_mask_r_cnn_s_own_masks_bit_for_bit():
    config = composed("model.refit.enabled=false", "model.box_score_thresh=0.2", "data.spacing=null")
    stages = {name: instantiate(stage, _convert_="all") for name, stage in enabled_stages(config.model.stages).items()}
    torch.manual_seed(0)
    for parameter in stages["detector"].module.network.roi_heads.box_predictor.parameters():
        torch.nn.init.normal_(parameter)  # sure of something
    clean = PostProcessing("all", False)
    method = TrainedMethod(stages, device=torch.device("cpu"), precision="32-true", postprocessing=clean)
    image = np.random.default_rng(0).integers(-100, 400, (3, 64, 64)).astype(np.int16)

    labels = method.segment(image, (3.0, 1.0, 1.0))

    network, shown = method.stages["detector"].module.network, ((image + 79) / 383).clip(0, 1)
    with torch.no_grad():
        found = [network(torch.from_numpy(one).float()[None, None])[0] for one in shown]
    maps = [region_maps(one, (64, 64), network) > 0.5 for one in found]
    expected = np.stack([(kidney | tumor) + tumor.to(torch.uint8) for kidney, tumor in maps])
    assert list(stages) == ["detector"]
    assert expected.any()
    np.testing.assert_array_equal(labels, expected)


@pytest.fixture(scope="module")
def run(command, tmp_path_factory):
    """A finished training whose detector lets so much pass that there is something to refit."""
    folder = tmp_path_factory.mktemp("ernet")
    command("model=ernet", "trainer=smoke", "model.box_score_thresh=0.05", "hydra.run.dir=run", cwd=folder)
    return folder / "run"


@pytest.mark.slow
def test_a_run_has_both_stages_their_scores_and_the_heat_maps_of_its_cases(run):
    record, split = (json.loads((run / name).read_text()) for name in ("run.json", "split.json"))

    assert record["status"] == "finished"
    assert list(record["stages"]) == ["detector", "refit"]
    assert (record["stages"]["refit"]["epochs"], record["stages"]["refit"]["steps"]) == (1, 1)
    assert record["stages"]["refit"]["flops"] == record["stages"]["detector"]["flops"] > 0
    assert sorted(path.stem for path in (run / "heatmaps").iterdir()) == sorted(split["test"])
    assert set(read_metrics(run / "stages" / "detector" / "metrics.csv")["region"]) == {"kidney_and_mass", "tumor"}
    states = [
        torch.load(run / "stages" / name / "best.ckpt", weights_only=True)["state_dict"] for name in record["stages"]
    ]
    for name, value in states[0].items():
        assert torch.equal(states[1][name.replace("network.", "network.detector.", 1)], value)
    assert any(bool(states[1][f"network.refits.{number}.fitted"]) for number in (0, 1))


@pytest.mark.slow
def test_what_it_predicts_does_not_depend_on_the_reference(run, tmp_path, monkeypatch):
    config = composed(f"data.root={run.parent / 'data' / 'phantom-smoke'}")
    dataset = instantiate(config.data, _convert_="all")
    other = tmp_path / "run"
    shutil.copytree(run, other)
    shutil.rmtree(other / "predictions")
    for case in dataset.split.test:
        changed = replace(dataset.cases[case], label=noise(dataset.cases[case].label, tmp_path / f"{case}.nii.gz"))
        monkeypatch.setitem(dataset.cases, case, changed)

    segment_scored_cases(other, dataset, "cpu", painted=tmp_path / "painted")

    found = [read_volume(other / "predictions" / f"{case}.nii.gz").array for case in dataset.split.test]
    for case, labels in zip(dataset.split.test, found, strict=True):
        np.testing.assert_array_equal(labels, read_volume(run / "predictions" / f"{case}.nii.gz").array)
    assert any(labels.any() for labels in found)


def noise(path, target):
    reference = read_volume(path)
    labels = np.random.default_rng(0).integers(0, 4, reference.array.shape).astype(np.uint8)
    write_volume(target, Volume(labels, reference.grid))
    return target


@pytest.mark.slow
def test_prediction_is_that_of_the_test_phase_and_the_run_can_be_resumed(run, command):
    name = json.loads((run / "split.json").read_text())["test"][0]
    image = run.parent / "data" / "phantom-smoke" / name / "imaging.nii.gz"

    command("task=predict", f"run={run}", f"input={image}", "output=label.nii.gz", cwd=run.parent)
    command(f"resume={run}", cwd=run.parent)

    labels = read_volume(run.parent / "label.nii.gz").array
    np.testing.assert_array_equal(labels, read_volume(run / "predictions" / f"{name}.nii.gz").array)
