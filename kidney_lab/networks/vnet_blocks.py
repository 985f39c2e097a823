"""Blocks of a V-Net with 3x3x3 convolutions: two convolutions, the way down, the way up.

F. Milletari et al., "V-Net", 3DV 2016, doi:10.1109/3DV.2016.79, with the sizes that J. Lin and Y. Chen, "Kidney Tumor
Image Segmentation Algorithm based on Deep Learning", sections 2.2.2 and 3.1, give. They name neither normalisation nor
activation: every convolution is followed by instance normalisation (affine, so that the convolution needs no bias) and
a PReLU with one slope a channel.
"""

from collections.abc import Sequence
from typing import Final, Literal, get_args

import torch
from torch import Tensor, nn

from kidney_lab.errors import InputError

ShortcutJoin = Literal["split", "beside"]
SHORTCUT_JOINS: Final = get_args(ShortcutJoin)


class TwoConvolutions(nn.Module):
    """Two 3x3x3 convolutions, optionally with V-Net's residual sum before the last activation.

    Args:
        in_channels: channels of the input.
        channels: channels of the output.
        residual: whether the output's last activation also gets the `identity`.
    """

    def __init__(self, in_channels: int, channels: int, *, residual: bool = True) -> None:
        super().__init__()
        self.residual = residual
        self.convolutions = nn.Sequential(
            nn.Conv3d(in_channels, channels, kernel_size=3, padding=1, bias=False),
            *_normalized(channels),
            nn.Conv3d(channels, channels, kernel_size=3, padding=1, bias=False),
            nn.InstanceNorm3d(channels, affine=True),
        )
        self.activation = nn.PReLU(channels)

    def forward(self, features: Tensor, identity: Tensor) -> Tensor:
        """Applies the block.

        Args:
            features: `(B, in_channels, D, H, W)`.
            identity: what the residual sum adds, `(B, any, D, H, W)`; its channels are repeated up to `channels`, as
                V-Net repeats the image's, and of more the first are taken.

        Returns:
            `(B, channels, D, H, W)`.
        """
        out: Tensor = self.convolutions(features)
        if self.residual:
            out = out + _repeated(identity, out.shape[1])
        activated: Tensor = self.activation(out)
        return activated


class Downsampling(nn.Module):
    """2x2x2 convolution of stride 2, optionally concatenated with a 1x1x1 shortcut of half as many channels.

    The paper says that the shortcut "preserves shallow detail" with half of the channels, not how the two are joined.

    Args:
        in_channels: channels of the input.
        channels: channels of the level below.
        shortcut: whether there is one, of `channels // 2` channels.
        join: `split`: the convolution gives the rest of the `channels`; `beside`: it keeps all of them.

    Raises:
        InputError: if `join` is unknown.
    """

    def __init__(self, in_channels: int, channels: int, *, shortcut: bool = True, join: ShortcutJoin = "split") -> None:
        super().__init__()
        half = channels // 2 if shortcut else 0
        out_channels = channels_below(channels, shortcut=shortcut, join=join)
        self.convolution = nn.Conv3d(in_channels, out_channels - half, kernel_size=2, stride=2, bias=False)
        self.shortcut = nn.Conv3d(in_channels, half, kernel_size=1, stride=2, bias=False) if shortcut else None
        self.normalized = nn.Sequential(*_normalized(out_channels))

    def forward(self, features: Tensor) -> Tensor:
        """`(B, in_channels, D, H, W)` to `(B, channels_below, D / 2, H / 2, W / 2)`."""
        out: Tensor = self.convolution(features)
        if self.shortcut is not None:
            out = torch.cat([out, self.shortcut(features)], dim=1)
        normalized: Tensor = self.normalized(out)
        return normalized


def channels_below(channels: int, *, shortcut: bool, join: ShortcutJoin) -> int:
    """Channels that `Downsampling` gives to a level of `channels`.

    Raises:
        InputError: if `join` is unknown.

    >>> [channels_below(64, shortcut=True, join=join) for join in ("split", "beside")]
    [64, 96]
    """
    if join not in SHORTCUT_JOINS:
        raise InputError(f"model.shortcut_join={join} is unknown: choose one of {', '.join(SHORTCUT_JOINS)}.")
    return channels + channels // 2 if shortcut and join == "beside" else channels


def strided(in_channels: int, channels: int, stride: Sequence[int]) -> nn.Sequential:
    """Convolution whose kernel is its stride, `(D, H, W)` to `(D, H, W) / stride`."""
    step = (stride[0], stride[1], stride[2])
    return nn.Sequential(nn.Conv3d(in_channels, channels, step, step, bias=False), *_normalized(channels))


def upsampling(in_channels: int, channels: int, stride: Sequence[int]) -> nn.Sequential:
    """Transposed convolution whose kernel is its stride, `(D, H, W)` to `(D, H, W) * stride`."""
    step = (stride[0], stride[1], stride[2])
    return nn.Sequential(nn.ConvTranspose3d(in_channels, channels, step, step, bias=False), *_normalized(channels))


def _normalized(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.InstanceNorm3d(channels, affine=True), nn.PReLU(channels)


def _repeated(features: Tensor, channels: int) -> Tensor:
    """Features with their channels repeated in turn up to a number, or the first of them where they are more."""
    if features.shape[1] == channels:
        return features
    return features[:, torch.arange(channels, device=features.device) % features.shape[1]]
