"""Generator of Vox2Vox, a row of MSALDS' Table 1: strided convolutions down, concatenated ones, transposed ones up.

Cirillo et al., "Vox2Vox: 3D-GAN for brain tumour segmentation", BrainLes 2020, arXiv 2003.13653; details as in the
authors' program (github.com/mdciri/Vox2Vox, models.py): kernels of 4, InstanceNorm but for the first convolution,
LeakyReLU of Keras' slope, dropout of single values after every step down and up, He's initialisation. Its discriminator
is `monai.networks.nets.PatchDiscriminator`.

"Concatenated" has two readings. In the program each convolution of the bottleneck hands on its output twice, as it is
and normalised and activated (`bottleneck="pairs"`); with `"dense"` each takes the outputs of all before it, as
DenseNet's.
"""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from math import prod
from typing import Final, Literal, get_args

import torch
from monai.networks.blocks import Convolution, DenseBlock
from torch import Tensor, nn

from kidney_lab.errors import InputError
from kidney_lab.networks.blocks import initialize_he

Bottleneck = Literal["pairs", "dense"]

_N_CONVOLUTIONS: Final = 4  # of the bottleneck
_NORM: Final = ("INSTANCE", {"affine": True})
_ACT: Final = ("LEAKYRELU", {"negative_slope": 0.3})

_halving = partial(Convolution, 3, kernel_size=4, strides=2, padding=1, act=_ACT)
_doubling = partial(
    Convolution, 3, kernel_size=4, strides=2, padding=1, output_padding=0, is_transposed=True, act=_ACT, norm=_NORM
)


class PairedConvolution(nn.Module):
    """Convolution that keeps the size and gives its output normalised and activated, then as it is.

    Args:
        in_channels: of the input.
        out_channels: of the convolution; the block gives twice as many.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = _same(in_channels, out_channels, conv_only=True)
        self.act = nn.Sequential(
            nn.InstanceNorm3d(out_channels, affine=True), nn.LeakyReLU(negative_slope=_ACT[1]["negative_slope"])
        )

    def forward(self, x: Tensor) -> Tensor:
        """Returns `(B, 2 out_channels, D, H, W)`."""
        y = self.conv(x)
        return torch.cat((self.act(y), y), dim=1)


class Vox2VoxGenerator(nn.Module):
    """Segments a volume; with the defaults the network of the authors' program.

    Args:
        in_channels: of the image.
        out_channels: of the logits.
        channels: of every level, finest first, the last being the bottleneck's; the first has half the image's size,
            and the size halves from level to level.
        dropout: share of values that are dropped after every step down and up.
        bottleneck: how the convolutions of the last level are concatenated, "pairs" or "dense".

    Raises:
        InputError: there are fewer than two levels, no such bottleneck, or the dropout is no share.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 4,
        *,
        channels: Sequence[int] = (64, 128, 256, 512),
        dropout: float = 0.2,
        bottleneck: Bottleneck = "pairs",
    ) -> None:
        super().__init__()
        _check(channels, dropout, bottleneck)
        *widths, deepest = channels
        self.encoder = nn.ModuleList(
            _halving(above, own, norm=_NORM if level else None, dropout=dropout)
            for level, (above, own) in enumerate(pairwise((in_channels, *widths)))
        )
        if bottleneck == "dense":
            layers = [_same(k * deepest, deepest, norm=_NORM, act=_ACT) for k in range(1, _N_CONVOLUTIONS + 1)]
            concatenated, below = DenseBlock(layers), (_N_CONVOLUTIONS + 1) * deepest
        else:
            inputs = (deepest, *[2 * deepest] * (_N_CONVOLUTIONS - 1))
            concatenated, below = nn.Sequential(*(PairedConvolution(k, deepest) for k in inputs)), 2 * deepest
        self.bottleneck = nn.Sequential(_halving(widths[-1], deepest, norm=_NORM), concatenated)
        # A step up takes what comes from below and, but for the first, the skip beside it.
        coarser = [2 * width for width in widths[1:]] + [below]
        self.decoder = nn.ModuleList(_doubling(above, own) for above, own in zip(coarser, widths, strict=True))
        self.dropout = nn.Dropout(dropout)
        self.head = _doubling(2 * widths[0], out_channels, conv_only=True)
        self.apply(initialize_he)

    def forward(self, image: Tensor) -> Tensor:
        """Logits of images.

        Args:
            image: `(B, in_channels, D, H, W)`; every side a multiple of 2 to the number of levels.

        Returns:
            `(B, out_channels, D, H, W)`; the program's softmax of them is that of `LabelOutput`.

        Raises:
            InputError: the size does not fit.
        """
        self._check_size(image)
        x, skips = image, []
        for step in self.encoder:
            x = step(x)
            skips.append(x)
        x = self.bottleneck(x)
        for level in reversed(range(len(skips))):
            x = self.dropout(torch.cat((self.decoder[level](x), skips[level]), dim=1))
        logits: Tensor = self.head(x)
        return logits

    def _check_size(self, image: Tensor) -> None:
        size, factor = tuple(image.shape[2:]), 2 ** (len(self.encoder) + 1)
        # Normalization over a single voxel has no variance.
        if any(side % factor for side in size) or prod(size) <= factor**3:
            raise InputError(
                f"An input of {size} voxels does not fit a generator of {len(self.encoder) + 1} levels: make every "
                f"side a multiple of {factor}, one at least larger than that, or give model.channels fewer levels."
            )


def _same(in_channels: int, out_channels: int, **settings: object) -> nn.Module:
    """Convolution with a kernel of 4 that keeps the size, padded as TensorFlow's "same": the odd voxel behind."""
    padded = nn.ConstantPad3d((1, 2, 1, 2, 1, 2), 0.0)
    return nn.Sequential(padded, Convolution(3, in_channels, out_channels, kernel_size=4, padding=0, **settings))


def _check(channels: Sequence[int], dropout: float, bottleneck: str) -> None:
    if len(channels) < 2:
        raise InputError(f"model.channels={list(channels)} makes no generator: name two or more, one per level.")
    if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise InputError(f"model.dropout={dropout} is no share of values: give a number from 0 to below 1.")
    if bottleneck not in get_args(Bottleneck):
        raise InputError(f"model.bottleneck={bottleneck} is unknown: choose one of {', '.join(get_args(Bottleneck))}.")
