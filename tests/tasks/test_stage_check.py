import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from monai.inferers import SimpleInferer
from torch import nn

from kidney_lab.composition.resolvers import register_resolvers
from kidney_lab.composition.search_path import config_folder, register_experiments
from kidney_lab.data.views import PatchView, RoiView
from kidney_lab.errors import InputError
from kidney_lab.tasks.stage_check import check_stage, forward_problem, sample_size


def stage(*overrides):
    register_resolvers()
    register_experiments()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = compose("config", overrides=["trainer=smoke", "logger=none", *overrides])
    return instantiate(config.model.stages.segmentation, _convert_="all")


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["view=roi", "view.multiple=4"],
        ["view=roi", "view.patch_size=null"],
        ["optimizer=sgd", "scheduler=constant"],
    ],
)
def test_stages_as_they_come_work_and_are_left_as_they_were(overrides):
    tried = stage(*overrides)
    before = {key: value.clone() for key, value in tried.module.state_dict().items()}
    check_stage("segmentation", tried)

    assert tried.module.training
    assert all(torch.equal(value, before[key]) for key, value in tried.module.state_dict().items())


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["model.roi_size=[16,16,14]"], "cannot take samples of the view, [16, 16, 14] voxels in 1 channels"),
        (["view=roi", "view.patch_size=null", "view.multiple=3"], "cannot take samples of the view, [6, 6, 6] voxels"),
        (
            ["view.roi_size=[16,16,16]", "model.roi_size=[15,15,15]"],
            "cannot take windows of model.roi_size, [15, 15, 15] voxels",
        ),
        (
            ["model.stages.segmentation.module.network.in_channels=2"],
            "[16, 16, 16] voxels in 1 channels (Invalid channel dimensions)",
        ),
    ],
)
def test_a_shape_that_the_network_cannot_take_is_one_sentence(overrides, words):
    with pytest.raises(InputError) as refused:
        check_stage("segmentation", stage(*overrides))

    assert words in str(refused.value)
    assert str(refused.value).endswith("and as many channels as it takes.")
    assert "\n" not in str(refused.value)


def test_a_stage_whose_inferer_has_no_windows_is_not_told_of_their_size():
    tried = stage("model.roi_size=[16,16,14]")
    tried.inferer = SimpleInferer()

    with pytest.raises(
        InputError, match=r"choose sizes that its strides divide, by view\.\*, and as many channels"
    ) as told:
        check_stage("segmentation", tried)
    assert "model.roi_size" not in str(told.value)


def test_a_large_shape_costs_no_memory():
    network = nn.Conv3d(1, 8, 3, padding=1)

    assert forward_problem(network, [1, 1, 4096, 4096, 4096]) is None
    assert forward_problem(network, [1, 2, 8, 8, 8]) == "Invalid channel dimensions"
    assert forward_problem(nn.Conv3d(1, 8, 3), [1, 1, 8, 8, 8]) == "it gives [6, 6, 6] voxels back"
    assert network.weight.device.type == "cpu"


def test_a_box_that_is_not_found_yet_is_a_multiple():
    epoch = {"samples_per_epoch": 2, "val_samples": 1}

    assert sample_size(RoiView(multiple=8, **epoch)) == [16, 16, 16]
    assert sample_size(RoiView(multiple=8, size=[4, 5, 6], **epoch)) == [4, 5, 6]
    assert sample_size(RoiView(multiple=8, patch_size=[4, 5, 6], **epoch)) == [4, 5, 6]
    assert sample_size(PatchView(roi_size=[4, 5, 6], foreground_fraction=0, **epoch)) == [4, 5, 6]
