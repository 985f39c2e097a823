"""Pretrained weights of encoders, from files that are there (see `weight_files`), and the input that they expect.

`imagenet` is for ResNet, ResNeXt, VGG, MobileNetV2 and AlexNet torchvision's file (`IMAGENET1K_V1`), whose names
segmentation_models_pytorch keeps; for an encoder of timm (`tu-`) the file that timm itself names, which for InceptionV3
is torchvision's too. A path may be such a file, timm's of safetensors, or a checkpoint of a stage with that encoder.
What a file has beyond the encoder (the classifier) is left out.
"""

import re
from collections.abc import Collection, Sequence
from typing import Final

from torch import Tensor, nn

from kidney_lab.errors import InputError
from kidney_lab.networks.weight_files import (
    State,
    WeightFile,
    hub_file,
    imagenet_url,
    own_file,
    read_state,
    refuse_missing,
)

_OF_TORCHVISION: Final = re.compile(r"resnet|resnext|vgg|mobilenet_v2$|alexnet$")
_IMAGENET: Final = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def input_statistics(encoder: str) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and deviation of the three channels, scaled to [0, 1], that an encoder's weights were trained with.

    Args:
        encoder: its name; for one of timm (`tu-`) timm knows them, all others have ImageNet's.
    """
    if encoder.startswith("tu-"):
        from timm.models import get_pretrained_cfg  # has been imported with the encoder, and takes long otherwise

        trained = get_pretrained_cfg(encoder.removeprefix("tu-"))
        if trained is not None:
            return trained.mean, trained.std
    return _IMAGENET


def encoder_file(encoder: str, weights: str) -> WeightFile | None:
    """File that a choice of weights needs, which is there.

    Args:
        encoder: its name.
        weights: `none`, `imagenet`, or the path of a file.

    Returns:
        The file; None for `none`.

    Raises:
        InputError: it is missing, or nobody knows which it is; tells whence and whither.
    """
    if weights == "none":
        return None
    file = hub_file(_imagenet_url(encoder)) if weights == "imagenet" else own_file(weights)
    refuse_missing([file], weights, of=f"the encoder {encoder}", choices=["none", "imagenet"])
    return file


def load_encoder(encoder: nn.Module, name: str, weights: str) -> None:
    """Loads weights into an encoder.

    Args:
        encoder: of a network of this package or of segmentation_models_pytorch.
        name: of the encoder.
        weights: `none` (which loads nothing), `imagenet`, or the path of a file.

    Raises:
        InputError: the file is missing, unreadable, or of another encoder.
    """
    file = encoder_file(name, weights)
    if file is None:
        return
    state, own = _of_encoder(read_state(file.path)), encoder.state_dict()
    names = {entry: _name_in_file(entry, state) for entry in own}
    counters = [entry for entry in own if entry.endswith("num_batches_tracked")]  # which older files lack
    for entry, found in names.items():
        if entry not in counters and (found not in state or state[found].shape != own[entry].shape):
            raise InputError(
                f"{file.path} does not fit the encoder {name}: its layer {entry} of shape {list(own[entry].shape)} is "
                f"{_as_held(state.get(found))}; name a file of that encoder, for slices of as many channels."
            )
    tops = {found.partition(".")[0] for found in names.values()}
    further = sorted(entry for entry in state.keys() - names.values() if entry.partition(".")[0] in tops)
    if further:
        raise InputError(
            f"{file.path} does not fit the encoder {name}: it has the layer {further[0]} beside; name a file of that "
            "encoder."
        )
    encoder.load_state_dict({entry: state.get(found, own[entry]) for entry, found in names.items()})


def _imagenet_url(encoder: str) -> str:
    """Where the file of `imagenet` may be had.

    Raises:
        InputError: nobody says.
    """
    url: str | None = None
    if encoder.startswith("tu-"):
        from timm.models import get_pretrained_cfg  # see `input_statistics`

        trained = get_pretrained_cfg(encoder.removeprefix("tu-"))
        url = trained.url if trained is not None else None
    elif _OF_TORCHVISION.match(encoder):
        try:
            url = imagenet_url(encoder)
        except (KeyError, ValueError):  # torchvision has no such classifier, or no such weights of it
            url = None
    if not url:
        raise InputError(
            f"model.weights=imagenet names no file for the encoder {encoder}: bring one and give its path, "
            f"model.weights={{{encoder}:PATH}}, or set model.weights=none."
        )
    return url


def _of_encoder(state: State) -> State:
    """The encoder's part of a whole network, or all of a file that holds no such network."""
    inner = {name.removeprefix("encoder."): value for name, value in state.items() if name.startswith("encoder.")}
    return inner or state


def _name_in_file(name: str, held: Collection[str]) -> str:
    """What a file calls a weight: by its own name, or as timm does before it makes a list of features of a network.

    Such a list stands in a module `model`, and joins the names of a sequence and of its parts (`stages_0`).
    """
    bare = name
    while bare not in held and bare.startswith("model."):
        bare = bare.removeprefix("model.")
    if bare in held:
        return bare
    top, _, rest = bare.partition(".")
    head, _, number = top.rpartition("_")
    parted = f"{head}.{number}.{rest}"
    return parted if parted in held else bare


def _as_held(value: Tensor | None) -> str:
    return "missing" if value is None else f"of shape {list(value.shape)} there"
