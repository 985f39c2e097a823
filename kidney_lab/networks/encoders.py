"""Encoders: classifiers of photographs without their last layer, as they are taken over to CT.

Nagarajan and Ramprasath, IJETT 72(9), 2024, pp. 446-457, section 4: ResNet-50, VGG16 and InceptionV3; AlexNet is a row
of Fig. 11. ResNet and VGG are those of segmentation_models_pytorch; names with `tu-` before them are timm's, among them
InceptionV3 (`tu-inception_v3`; `inceptionv4` is another network); AlexNet is torchvision's. All of them give their
features as a list, the finest first, and are built with random weights: see `encoder_weights`.
"""

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import timm
import torch
from segmentation_models_pytorch.encoders import get_encoder, get_encoder_names
from torch import Tensor, nn
from torchvision.models import AlexNet

from kidney_lab.errors import InputError

ALEXNET: Final = "alexnet"
SMALLEST: Final = {ALEXNET: 63, "tu-inception_v3": 75}
"""Sides, in pixels, of the smallest images that networks without padding leave any features of."""


class AlexNetEncoder(nn.Module):
    """The convolutions of AlexNet (Krizhevsky et al. 2012, as torchvision builds it): features of stride 32 alone.

    Args:
        in_channels: of the image.
    """

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        with torch.device("meta"):  # its classifier has 24 times as many weights
            features = AlexNet().features
        self.features = features.to_empty(device=torch.get_default_device())
        if in_channels != 3:
            self.features[0] = nn.Conv2d(in_channels, 64, kernel_size=11, stride=4, padding=2)
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                layer.reset_parameters()
        self.out_channels = [in_channels, 256]

    def forward(self, image: Tensor) -> list[Tensor]:
        """The image `(B, C, H, W)`, and its features `(B, 256, h, w)`."""
        return [image, self.features(image)]


def build_encoder(name: str, in_channels: int) -> tuple[nn.Module, Sequence[int]]:
    """An encoder with random weights.

    Args:
        name: `alexnet`, one of segmentation_models_pytorch, or one of timm with `tu-` before it.
        in_channels: of the image.

    Returns:
        The encoder, which gives features of strides up to 32, the finest first, and the channels of each.

    Raises:
        InputError: there is no such encoder.
    """
    if name == ALEXNET:
        alexnet = AlexNetEncoder(in_channels)
        return alexnet, alexnet.out_channels
    with known_encoder(name):
        encoder = get_encoder(name, in_channels=in_channels, weights=None)
        return encoder, encoder.out_channels


@contextmanager
def known_encoder(name: object) -> Iterator[None]:
    """Checks the name of an encoder of the libraries, and tells in a sentence why they cannot build it.

    Raises:
        InputError: there is no such encoder, or it gives no features of every stride.
    """
    names, asked = get_encoder_names(), str(name)
    if not (timm.is_model(asked.removeprefix("tu-")) if asked.startswith("tu-") else asked in names):
        near = difflib.get_close_matches(asked, names, n=3, cutoff=0.0)
        raise InputError(
            f"The encoder {name} is unknown: choose resnet50, vgg16, tu-inception_v3, alexnet (with "
            f"model.decoder=linear), another one of segmentation_models_pytorch (such as {', '.join(near)}), or one "
            "of timm with tu- before its name."
        )
    try:
        yield
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        problem = " ".join(str(error).split()).rstrip(".")
        raise InputError(
            f"The encoder {name} gives no features of the strides that are asked for ({problem}): choose another, such "
            "as resnet50, or other model.decoder_channels."
        ) from error


def refuse_small(image: Tensor, name: str) -> None:
    """Makes sure that an encoder leaves any features of an image `(B, C, H, W)`.

    Raises:
        InputError: the image is too small.
    """
    smallest = SMALLEST.get(name, 1)
    if min(image.shape[2:]) < smallest:
        raise InputError(
            f"{name} takes slices of {smallest} x {smallest} pixels or more, not {image.shape[2]} x {image.shape[3]}: "
            "enlarge view.size"
        )
