"""DeepLabv3 (Chen et al. 2017, arXiv:1706.05587) of segmentation_models_pytorch.

A row of Table 2 of the transfer-learning ensemble (paper 003). What the library cannot build is told in one sentence;
by itself it ends in a `KeyError` that lists all its encoders.
"""

from segmentation_models_pytorch import DeepLabV3
from torch import nn

from kidney_lab.errors import InputError
from kidney_lab.networks.encoders import known_encoder
from kidney_lab.numbers import is_whole


def build_deeplabv3(
    *, encoder: str, in_channels: int = 3, out_channels: int = 1, channels: int = 256, dropout: float = 0.5
) -> nn.Module:
    """DeepLabv3 with random weights and features of stride 16, as Chen et al. train it.

    Args:
        encoder: name of one of segmentation_models_pytorch, or of timm with `tu-` before it.
        in_channels: of the image.
        out_channels: of the logits.
        channels: of the atrous pyramid.
        dropout: share of the pyramid's features that are left out in training.

    Returns:
        A network of images `(B, in_channels, H, W)`, sides divisible by 16, to logits of their size.

    Raises:
        InputError: there is no such encoder, none of that stride, or the channels are no number of them.
    """
    if not is_whole(channels):
        raise InputError(f"model.channels={channels} is no count: DeepLabv3 takes one whole number of at least 1.")
    with known_encoder(encoder):
        network: nn.Module = DeepLabV3(
            encoder,
            encoder_weights=None,
            encoder_output_stride=16,
            decoder_channels=channels,
            decoder_aspp_dropout=dropout,
            in_channels=in_channels,
            classes=out_channels,
        )
    return network
