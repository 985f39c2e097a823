"""Pretrained weights of Mask R-CNN, from files that are there (see `weight_files`).

`imagenet` is torchvision's classifier of the backbone's name (`IMAGENET1K_V1`, the one that its detectors start from),
of which the body is taken. `coco` is torchvision's one Mask R-CNN, that with ResNet-50: for `resnet50` the whole
detector. For any other backbone, the paper's ResNet-101 among them, no such weights are published with torchvision;
`coco` then is the body of that backbone's classifier, and from the ResNet-50 detector all that works on the pyramid's
256 channels and so fits any body. The lateral 1x1 convolutions, which read the body's own channels, start anew.

Torchvision runs the frozen normalizations of that detector without the small constant (1e-5) that keeps them from
dividing by 0; here it stays, since a run's own checkpoint would not tell.

What decides about classes has another number of them here (3, not COCO's 91) and always starts anew.
"""

from pathlib import Path

from torch import nn
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights

from kidney_lab.errors import InputError
from kidney_lab.networks.mask_rcnn import MaskRCNN
from kidney_lab.networks.weight_files import (
    State,
    WeightFile,
    hub_file,
    imagenet_url,
    own_file,
    read_state,
    refuse_missing,
)
from kidney_lab.wording import counted

_BODY, _LATERAL = "backbone.body.", "backbone.fpn.inner_blocks."
_BEHIND_BODY = ("backbone.fpn.", "rpn.", "roi_heads.")
_OF_CLASSES: tuple[str, ...] = (
    "roi_heads.box_predictor.",
    "roi_heads.mask_predictor.mask_fcn_logits.",
    "rpn.head.cls_logits.",  # this and the next: of anchors, whose number per place may differ
    "rpn.head.bbox_pred.",
)


def weight_files(weights: str, backbone: str) -> list[WeightFile]:
    """Files that a choice of weights needs, all of which are there.

    Args:
        weights: `none`, `imagenet`, `coco`, or the path of a file.
        backbone: name of the ResNet.

    Returns:
        The files, the body's own first; none for `none`.

    Raises:
        InputError: some are missing; tells which, whence and whither.
    """
    coco = MaskRCNN_ResNet50_FPN_Weights.COCO_V1.url
    urls = {
        "none": [],
        "imagenet": [imagenet_url(backbone)],
        "coco": [coco] if backbone == "resnet50" else [imagenet_url(backbone), coco],
    }
    files = [hub_file(url) for url in urls[weights]] if weights in urls else [own_file(weights)]
    refuse_missing(files, weights, of=f"model.backbone={backbone}", choices=["none", "imagenet", "coco"])
    return files


def load_weights(network: MaskRCNN, weights: str) -> list[str]:
    """Loads weights into a network.

    Args:
        network: built with `norm="frozen_batch"` for torchvision's weights, or as the file's own network was.
        weights: `none`, `imagenet`, `coco`, or the path of a file: of a classifier or of a Mask R-CNN, both as
            torchvision names their weights, or a checkpoint of a stage that trained one.

    Returns:
        Names of the weights that keep their random values; none are named for `none`.

    Raises:
        InputError: a file is missing, unreadable, or of another network.
    """
    files = weight_files(weights, network.backbone_name)
    if not files:
        return []
    state, *heads = [_read(file.path) for file in files]
    anew = _OF_CLASSES
    if all(name.startswith(_BODY) for name in state):
        anew = (*_OF_CLASSES, _LATERAL) if heads else _BEHIND_BODY
    for behind in heads:
        state |= {name: value for name, value in behind.items() if not name.startswith((_BODY, _LATERAL))}
    return _load(network, state, anew=anew, source=" with ".join(str(file.path) for file in files))


def _read(path: Path) -> State:
    """Weights of a file by the names that the detector has for them."""
    state = read_state(path)
    if "conv1.weight" in state:  # a classifier
        return {_BODY + name: value for name, value in state.items() if not name.startswith("fc.")}
    if not any(name.startswith(_BODY) for name in state):
        raise InputError(f"{path} holds neither a ResNet nor a Mask R-CNN by torchvision's names: name another file.")
    return state


def _load(network: nn.Module, state: State, *, anew: tuple[str, ...], source: str) -> list[str]:
    """Loads by torchvision's own rules, which know the names of its older files, and judges what is left.

    Args:
        network: to load into.
        state: weights by name.
        anew: beginnings of the names that may be missing, or of another shape.
        source: of the weights, for messages.

    Returns:
        Names of the weights that were left as they are.

    Raises:
        InputError: others are missing or of another shape, or there are too many.
    """
    own = network.state_dict()
    _refuse_other_norm(own, state, source)
    fitting = {name: value for name, value in state.items() if name not in own or own[name].shape == value.shape}
    missing, unexpected = network.load_state_dict(fitting, strict=False)
    wrong = [*unexpected, *(name for name in missing if not name.startswith(anew))]
    if wrong:
        raise InputError(
            f"{source} does not fit the network: {counted(len(wrong), 'weight')} missing, too many or of another "
            f"shape, {wrong[0]} first; choose the model.backbone and model.channels that the file is of."
        )
    return sorted(missing)


def _refuse_other_norm(own: State, state: State, source: str) -> None:
    wanted, held = (any(name.endswith(".running_mean") for name in names) for names in (own, state))
    if wanted != held:
        norm, has = ("group", "no statistics") if wanted else ("frozen_batch", "statistics")
        raise InputError(f"{source} has {has} of a batch normalization: set model.norm={norm}.")
