"""The U-shape that several networks share: what differs between them are the blocks.

Ronneberger et al., "U-Net: Convolutional networks for biomedical image segmentation", MICCAI 2015,
doi:10.1007/978-3-319-24574-4_28: 2x2 max-pooling down, 2x2 transposed convolutions up, skips by concatenation;
convolutions are padded, so that the output has the input's size.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod

import torch
from monai.networks.blocks import UpSample
from monai.networks.layers.factories import Pool
from torch import Tensor, nn

from kidney_lab.errors import InputError

Block = Callable[[int, int], nn.Module]
"""Builds a block out of its numbers of input and output channels; the block keeps the spatial size."""


class UShape(nn.Module):
    """Encoder, bottleneck and decoder; gives the features of every decoder stage.

    Args:
        spatial_dims: 2 or 3.
        in_channels: of the image.
        channels: of every level, finest first; the last is the bottleneck's. The size halves from level to level.
        encoder: builds the blocks of all levels but the last.
        bottleneck: builds the block of the last level.
        decoder: builds the blocks on the way up; the input is the skip, then what comes from below.
        skip: builds what a skip passes through.

    Raises:
        InputError: if there are fewer than two levels.
    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: int,
        channels: Sequence[int],
        encoder: Block,
        bottleneck: Block,
        decoder: Block,
        skip: Block = nn.Identity,
    ) -> None:
        super().__init__()
        if len(channels) < 2:
            raise InputError(f"channels={list(channels)} makes no U-shape: name two or more, one per level.")
        *widths, deepest = channels
        self.pool = Pool["max", spatial_dims](kernel_size=2)
        self.encoder = nn.ModuleList(encoder(above, own) for above, own in pairwise((in_channels, *widths)))
        self.bottleneck = bottleneck(widths[-1], deepest)
        self.skips = nn.ModuleList(skip(own, own) for own in widths)
        self.upsamplings = nn.ModuleList(
            UpSample(spatial_dims, below, own, scale_factor=2, mode="deconv") for own, below in pairwise(channels)
        )
        self.decoder = nn.ModuleList(decoder(2 * own, own) for own in widths)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of an image.

        Args:
            image: `(B, C, [D,] H, W)`; every side a multiple of 2 to the number of halvings.

        Returns:
            `(B, channels[i], [D,] H, W)` of every decoder stage i, finest first, each half the size of the one before.

        Raises:
            InputError: if the size does not fit.
        """
        self._check(image)
        x, skipped = image, []
        for block, skip in zip(self.encoder, self.skips, strict=True):
            x = block(x)
            skipped.append(skip(x))
            x = self.pool(x)
        x = self.bottleneck(x)
        features = []
        for level in reversed(range(len(skipped))):
            x = self.decoder[level](torch.cat((skipped[level], self.upsamplings[level](x)), dim=1))
            features.append(x)
        return features[::-1]

    def _check(self, image: Tensor) -> None:
        size, factor = tuple(image.shape[2:]), 2 ** len(self.encoder)
        # Normalization over a single pixel has no variance.
        if any(side % factor for side in size) or prod(size) <= factor ** len(size):
            raise InputError(
                f"An input of {size} pixels does not fit a network of {len(self.encoder) + 1} levels: make every side "
                f"a multiple of {factor}, one at least larger than that, or give the network fewer channels."
            )
