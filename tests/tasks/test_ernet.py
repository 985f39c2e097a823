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
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from kidney_lab.composition.resolvers import register_resolvers
from kidney_lab.composition.search_path import config_folder
from kidney_lab.data.nifti import read_volume, write_volume
from kidney_lab.errors import InputError
from kidney_lab.geometry import Volume
from kidney_lab.inference.method import TrainedMethod
from kidney_lab.inference.postprocessing import PostProcessing
from kidney_lab.methods.pipeline import enabled_stages
from kidney_lab.metrics.table import read_metrics
from kidney_lab.networks.slice_rois import paste
from kidney_lab.tasks.settings import check_settings
from kidney_lab.tasks.testing import segment_scored_cases
from kidney_lab.tasks.values import check_values
from tests.support.composed import channels_of


def composed(*overrides):
    register_resolvers()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        everything = ["model=ernet", "trainer=smoke", "logger=none", "data.root=x", "hydra.mode=RUN", *overrides]
        config = compose("config", overrides=everything, return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    return config


def check(*overrides):
    config = composed(*overrides)
    check_values(config)
    check_settings(config)
    return config


@pytest.mark.parametrize(
    ("overrides", "channels"),
    [
        ([], {"detector": 1, "refit": 1}),
        (["model.refit.enabled=false"], {"detector": 1}),
        (["data=kits19", "view.neighbours=1", "model.mask_activation=softmax"], {"detector": 3, "refit": 3}),
        (
            ["model.refit.groups=kmeans", "model.roi.scale=inf", "model.heatmap.layer=conv5_mask"],
            {"detector": 1, "refit": 1},
        ),
    ],
)
def test_its_settings_make_these_stages_of_so_many_channels(overrides, channels):
    assert channels_of(check(*overrides)) == channels


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
        (["model.roi.scale=0.5"], r"model\.roi\.scale=0\.5 is out of range: give a number of at least 1, or inf\."),
        (
            ["model.refit.iterations=1.5"],
            r"model\.refit\.iterations=1\.5 is no count: give a whole number of at least 1",
        ),
        (["model.refit.samples=0"], r"model\.refit\.samples=0 is no count: give a whole number of at least 1"),
        (
            ["model.refit.max_pixels=2.5"],
            r"model\.refit\.max_pixels=2\.5 is no count: give a whole number of at least 2",
        ),
        (["model.min_pixels=0"], r"model\.min_pixels=0 is no count: give a whole number of at least 1"),
        (["model.warmup_steps=abc"], r"model\.warmup_steps=abc is no count: give a whole number of at least 0"),
        (["model.rpn_top_n=10"], r"model\.rpn_top_n=10 is out of range: give two whole numbers of at least 1"),
        (
            ["view=patches"],
            r"takes a value from model\.roi_size, .* choose options that go together, such as the view=",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(overrides, message):
    from kidney_lab.composition.messages import USER_ERRORS, describe

    with pytest.raises(USER_ERRORS) as caught:
        check(*overrides)
    with pytest.raises(InputError, match=message):
        raise InputError(describe(caught.value, []))


def test_the_paper_s_size_asks_for_weights_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    with pytest.raises(
        InputError, match=r"model\.weights=coco with model\.backbone=resnet101 needs resnet101-\S+\.pth"
    ):
        check("data=kits19", "preset=full")


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

    shown = torch.from_numpy(((image + 79) / 383).clip(0, 1)).float()
    found = torchvision_s_raw_masks(method.stages["detector"].module.network, shown)
    expected = np.zeros_like(labels)
    for number, one in enumerate(found):
        masks = paste(one["masks"], one["boxes"], (64, 64))[:, 0] > 0.5
        for value in (1, 2):  # the tumor over the kidney
            expected[number][masks[one["labels"] == value].any(dim=0).numpy()] = value
    assert list(stages) == ["detector"]
    assert expected.any()
    np.testing.assert_array_equal(labels, expected)


def torchvision_s_raw_masks(network, shown):
    """Boxes, labels and masks of each box, as torchvision's own Mask R-CNN finds them with the same parts."""
    found = []
    transform = GeneralizedRCNNTransform(64, 64, [0.0] * 3, [1.0] * 3, _skip_resize=True)
    transform.postprocess = lambda result, *_: found.extend(result) or result  # before masks are pasted
    with torch.no_grad():
        GeneralizedRCNN(network.backbone, network.rpn, network.roi_heads, transform).eval()(
            [slice_[None].expand(3, -1, -1) for slice_ in shown]
        )
    return found


def test_in_the_paper_s_size_slices_are_whole_and_as_they_are_stored():
    settings = composed("data=kits19", "preset=full", "model.weights=none")

    assert not settings.model.stages.detector.grid.crop_to_body
    assert (settings.view["size"], settings.view.roi_size) == (None, [512, 512])
    assert settings.model.stages.detector.module.min_pixels == 16


@pytest.mark.parametrize("in_plane", [(72, 90), (40, 52)])
def test_slices_that_are_not_resized_are_predicted_whole_whatever_their_size(in_plane):
    native = ["model.crop_to_body=false", "model.slice_size=null", "model.slice_roi_size=[64,64]"]
    config = composed(*native, "model.box_score_thresh=0.05", "data.spacing=null")
    stages = {name: instantiate(stage, _convert_="all") for name, stage in enabled_stages(config.model.stages).items()}
    method = TrainedMethod(
        stages, device=torch.device("cpu"), precision="32-true", postprocessing=PostProcessing("all")
    )
    module, seen = method.stages["refit"].module, []
    module.network.detector.backbone.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[-2:]))
    image = np.random.default_rng(0).integers(-100, 400, (3, *in_plane)).astype(np.int16)
    image[:, :8] = -1000  # air, which is not cut off

    labels = method.segment(image, (3.0, 1.0, 1.0))

    assert labels.shape == image.shape
    assert set(seen) == {tuple(-(-n // 32) * 32 for n in in_plane)}  # of the slice, padded to the network's stride
    assert module.slice_maps(image, 1, module.explain).shape == (6, *in_plane)


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
