"""The improved V-Net: feature fusion, channel and spatial attention, shortcuts and a contour head, each on a switch.

J. Lin and Y. Chen, "Kidney Tumor Image Segmentation Algorithm based on Deep Learning", sections 2.2.2 and 3. Chosen
where the paper contradicts itself or is silent:

- The feature sizes of section 3.2 (half the patch in the plane, its full depth, then halves of these) do not follow
  from strides of 2 alone: a stem of stride (1, 2, 2), undone at the end, gives them. `stem_stride=(1, 1, 1)` has none.
- 32 channels on the finest level: 28.7 million parameters without the parts, between the 26.5 that section 2.2.2
  implies for V-Net and its 31.2 for the improved one; 23 fit the 14.8 of section 4.2.2 (`attention_vnet_parameters`).
- A shortcut gives half of the channels on the way down and the convolution the other half, which saves parameters.
  Section 2.2.2 says that they increase by 4.7 million: so they do where the convolution keeps all of its channels
  (`shortcut_join="beside"`), and the block below takes half as many again.
- V-Net's residual sums, which the paper does not mention, are kept and switch off: on the encoder's path the block's
  input is added, on the decoder's the upsampled features, which have the right number of channels.
- Attention stands after the two convolutions of the four encoder modules, so that both the skip and the way down are
  weighted; the bottom block is not one of the four.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from kidney_lab.errors import InputError
from kidney_lab.networks.dual_attention import AttentionOrder, DualAttention
from kidney_lab.networks.feature_fusion import FeatureFusion, Normalize
from kidney_lab.networks.mutual_information import Estimator
from kidney_lab.networks.vnet_blocks import (
    Downsampling,
    ShortcutJoin,
    TwoConvolutions,
    channels_below,
    strided,
    upsampling,
)
from kidney_lab.numbers import is_whole


class SegmentationAndContour(NamedTuple):
    """What the network returns in training mode with a contour head."""

    logits: Tensor
    """`(B, out_channels, D, H, W)`."""

    contour: Tensor
    """Logits of the reference's contour, `(B, 1, D, H, W)`."""


class AttentionVNet(nn.Module):
    """V-Net with the paper's parts; with all of them off, a plain V-Net of 3x3x3 convolutions.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits.
        channels: of the encoder's levels, finest first, and of the bottom, each of half the size of the one before.
        stem_stride: (D, H, W) stride of a first convolution, undone before the head; ones for no stem.
        residual: whether blocks add V-Net's residual sum; without parameters.
        shortcut: whether 1x1x1 convolutions of half as many channels stand beside those on the way down.
        shortcut_join: `split` (the others give the other half) or `beside` (they keep all their channels).
        channel_attention: whether the channels of every encoder level are weighted.
        channel_threshold: channels whose weight is smaller are zeroed; 0 zeroes none.
        spatial_attention: whether the voxels of every encoder level are weighted.
        attention_order: `sequential` (channels first) or `parallel`, where both are on.
        fusion: whether decoder stages get all encoder levels, weighted, in place of their own level.
        mi: estimator of the weights' mutual information, `gaussian` or `histogram`.
        mi_normalize: `softmax`, `sum` or `none`, see `FeatureFusion`.
        mi_detach: whether gradients stop at these weights.
        boundary_head: whether a 1x1x1 convolution of the last features also predicts the reference's contour; in
            training mode only.

    Raises:
        InputError: if there are under two channels or a setting is unknown.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int] = (32, 64, 128, 256, 512),
        stem_stride: Sequence[int] = (1, 2, 2),
        residual: bool = True,
        shortcut: bool = True,
        shortcut_join: ShortcutJoin = "split",
        channel_attention: bool = True,
        channel_threshold: float = 0.05,
        spatial_attention: bool = True,
        attention_order: AttentionOrder = "sequential",
        fusion: bool = True,
        mi: Estimator = "gaussian",
        mi_normalize: Normalize = "softmax",
        mi_detach: bool = True,
        boundary_head: bool = False,
    ) -> None:
        super().__init__()
        _check_settings(channels, stem_stride)
        *levels, bottom = channels
        self.divisor = [stride * 2 ** len(levels) for stride in stem_stride]
        stem = max(stem_stride) > 1
        first = channels[0] if stem else in_channels
        below = [channels_below(level, shortcut=shortcut, join=shortcut_join) for level in channels[1:]]
        self.stem = strided(in_channels, channels[0], stem_stride) if stem else nn.Identity()
        self.encoder = nn.ModuleList(
            TwoConvolutions(before, level, residual=residual)
            for before, level in zip([first, *below[:-1]], levels, strict=True)
        )
        self.down = nn.ModuleList(
            Downsampling(n, m, shortcut=shortcut, join=shortcut_join) for n, m in zip(levels, channels[1:], strict=True)
        )
        self.bottom = TwoConvolutions(below[-1], bottom, residual=residual)
        self.up = nn.ModuleList(upsampling(m, n, (2, 2, 2)) for n, m in zip(levels, channels[1:], strict=True))
        self.decoder = nn.ModuleList(TwoConvolutions(2 * level, level, residual=residual) for level in levels)
        self.unstem = upsampling(channels[0], channels[0], stem_stride) if stem else nn.Identity()
        self.head = nn.Conv3d(channels[0], out_channels, kernel_size=1)
        # Last, so that one seed gives the plain parts the same first weights whichever of these are on.
        attend = partial(DualAttention, channel=channel_attention, spatial=spatial_attention, order=attention_order)
        self.attention = nn.ModuleList(attend(level, threshold=channel_threshold) for level in levels)
        fuse = partial(FeatureFusion, levels, mi=mi, mi_normalize=mi_normalize, mi_detach=mi_detach)
        self.fusion = nn.ModuleList(fuse(level) for level in levels if fusion)
        self.boundary_head = nn.Conv3d(channels[0], 1, kernel_size=1) if boundary_head else None

    def forward(self, image: Tensor) -> Tensor | SegmentationAndContour:
        """Segments an image.

        Args:
            image: `(B, in_channels, D, H, W)`; sizes divide by `divisor`.

        Returns:
            Logits `(B, out_channels, D, H, W)`; in training mode with a contour head these and the contour's.

        Raises:
            InputError: if a size does not divide, or the bottom would have a single voxel, which cannot be normalised.
        """
        self._check_size(image.shape[2:])
        *skips, decoded = self.encode(image)
        for level in reversed(range(len(skips))):
            upsampled = self.up[level](decoded)
            skip = self.fusion[level](skips, upsampled) if self.fusion else skips[level]
            decoded = self.decoder[level](torch.cat([upsampled, skip], dim=1), identity=upsampled)
        decoded = self.unstem(decoded)
        logits: Tensor = self.head(decoded)
        if self.training and self.boundary_head is not None:
            return SegmentationAndContour(logits, self.boundary_head(decoded))
        return logits

    def encode(self, image: Tensor) -> list[Tensor]:
        """Features of the encoder's levels, finest first, and of the bottom, `(B, channels[l], D_l, H_l, W_l)`."""
        features: Tensor = self.stem(image)
        levels = []
        for block, attend, down in zip(self.encoder, self.attention, self.down, strict=True):
            levels.append(attend(block(features, identity=features)))
            features = down(levels[-1])
        return [*levels, self.bottom(features, identity=features)]

    def _check_size(self, size: Sequence[int]) -> None:
        bottom = [n // divisor for n, divisor in zip(size, self.divisor, strict=True)]
        divides = all(n % divisor == 0 for n, divisor in zip(size, self.divisor, strict=True))
        if not divides or math.prod(bottom) < 2:
            raise InputError(
                f"attention_vnet cannot take patches of {tuple(size)} voxels (D, H, W): set model.roi_size to "
                f"multiples of {tuple(self.divisor)}, and to more than the smallest in at least one axis."
            )


def _check_settings(channels: Sequence[int], stem_stride: Sequence[int]) -> None:
    if not _are_counts(channels) or len(channels) < 2:
        raise InputError(
            f"model.channels={channels} is no V-Net: name the channels of two or more levels, whole numbers from 1 on."
        )
    if not _are_counts(stem_stride) or len(stem_stride) != 3:
        raise InputError(f"model.stem_stride={stem_stride} is no stride: write three whole numbers from 1 on.")


def _are_counts(values: object) -> bool:
    return isinstance(values, Sequence) and all(is_whole(value) and value >= 1 for value in values)
