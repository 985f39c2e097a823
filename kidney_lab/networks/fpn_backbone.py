"""The backbone of a detector: a ResNet with a feature pyramid, by torchvision.

He et al., "Deep residual learning for image recognition", CVPR 2016, doi:10.1109/CVPR.2016.90; Lin et al., "Feature
pyramid networks for object detection", CVPR 2017, doi:10.1109/CVPR.2017.106.

Weights that were trained on photographs bring the statistics of their batch normalization, which stay frozen, since a
batch of four slices gives poor ones. Without such weights there is nothing to freeze, and GroupNorm takes their place:
it works at any batch size, is the same in training and inference, and is what Mask R-CNN was first trained from scratch
with (Wu and He, "Group normalization", ECCV 2018, doi:10.1007/978-3-030-01261-8_1; He, Girshick and Dollár,
"Rethinking ImageNet pre-training", ICCV 2019, doi:10.1109/ICCV.2019.00502).
"""

from functools import partial
from typing import Any, Literal, get_args

from torch import nn
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FeaturePyramidNetwork, FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from kidney_lab.errors import InputError

Norm = Literal["group", "frozen_batch"]

BACKBONES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")

_GROUPS = 32  # Wu and He's; every layer of these ResNets has a multiple of it
_TRAINED_LAYERS: dict[Norm, int] = {"group": 5, "frozen_batch": 3}  # the latter is torchvision's


def fpn_backbone(
    name: str, *, norm: Norm = "group", trainable_layers: int | None = None, out_channels: int = 256
) -> nn.Module:
    """Builds a backbone with random weights.

    Args:
        name: one of `BACKBONES`.
        norm: `frozen_batch` for weights that bring batch statistics, else `group`.
        trainable_layers: how many of the ResNet's five parts learn, the last ones first; None: all with `group`, three
            with `frozen_batch`.
        out_channels: of the pyramid; 256 in torchvision's.

    Returns:
        Maps images `(B, 3, H, W)` to features `(B, out_channels, H / s, W / s)` by name, `s` = 4, 8, 16, 32 and 64.

    Raises:
        InputError: an argument is none of those.
    """
    if name not in BACKBONES:
        raise InputError(f"model.backbone={name} is unknown: choose one of {', '.join(BACKBONES)}.")
    if norm not in get_args(Norm):
        raise InputError(f"model.norm={norm} is unknown: choose one of {', '.join(get_args(Norm))}.")
    layers = _TRAINED_LAYERS[norm] if trainable_layers is None else trainable_layers
    if layers not in range(6):
        raise InputError(f"model.trainable_layers={layers} must be a whole number from 0 to 5, or null.")
    norm_layer: Any = FrozenBatchNorm2d if norm == "frozen_batch" else partial(nn.GroupNorm, _GROUPS)
    backbone: Any = resnet_fpn_backbone(
        backbone_name=name, weights=None, norm_layer=norm_layer, trainable_layers=layers
    )
    if out_channels != backbone.out_channels:
        channels = [lateral[0].in_channels for lateral in backbone.fpn.inner_blocks]
        backbone.fpn = FeaturePyramidNetwork(channels, out_channels, LastLevelMaxPool())
        backbone.out_channels = out_channels
    whole: nn.Module = backbone
    return whole
