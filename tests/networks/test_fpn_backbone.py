import pytest
import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from kidney_lab.errors import InputError
from kidney_lab.networks.fpn_backbone import BACKBONES, fpn_backbone


def frozen_parts(backbone: nn.Module) -> set[str]:
    return {name.split(".")[0] for name, p in backbone.body.named_parameters() if not p.requires_grad}


def test_five_levels_of_256_channels_each_half_the_size_of_the_last():
    levels = fpn_backbone("resnet18")(torch.zeros(1, 3, 64, 96))

    assert [tuple(level.shape) for level in levels.values()] == [(1, 256, 64 // s, 96 // s) for s in (4, 8, 16, 32)] + [
        (1, 256, 1, 2)
    ]


def test_a_pyramid_can_be_narrower_and_its_first_layers_learn_as_they_would_in_a_wider_one():
    backbone = fpn_backbone("resnet18", norm="frozen_batch", out_channels=64)

    assert {level.shape[1] for level in backbone(torch.zeros(1, 3, 64, 64)).values()} == {64}
    assert frozen_parts(backbone) == {"conv1", "layer1"}
    laterals = [tuple(lateral[0].weight.shape[:2]) for lateral in backbone.fpn.inner_blocks]
    assert laterals == [(64, 64), (64, 128), (64, 256), (64, 512)]


@pytest.mark.parametrize("name", BACKBONES)
def test_group_norm_fits_every_backbone_and_all_of_it_learns(name):
    with torch.device("meta"):
        backbone = fpn_backbone(name)

    kinds = {type(module) for module in backbone.modules()}
    assert nn.GroupNorm in kinds
    assert not kinds & {nn.BatchNorm2d, FrozenBatchNorm2d}
    assert frozen_parts(backbone) == set()


def test_frozen_statistics_freeze_the_first_layers_as_torchvision_does_unless_told_otherwise():
    assert frozen_parts(fpn_backbone("resnet18", norm="frozen_batch")) == {"conv1", "layer1"}
    assert frozen_parts(fpn_backbone("resnet18", norm="frozen_batch", trainable_layers=5)) == set()
    assert frozen_parts(fpn_backbone("resnet18", trainable_layers=1)) == {"conv1", "bn1", "layer1", "layer2", "layer3"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "resnet20"}, "model.backbone=resnet20 is unknown: choose one of resnet18, .*resnet152"),
        ({"name": "resnet18", "norm": "batch"}, "model.norm=batch is unknown: choose one of group, frozen_batch"),
        ({"name": "resnet18", "trainable_layers": 6}, "model.trainable_layers=6 must be a whole number from 0 to 5"),
    ],
)
def test_unknown_choices_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        fpn_backbone(**arguments)
