"""nnU-Net's plain 3D U-Net, of the blocks of MONAI's DynUNet: no residual connections, heads at several levels.

Isensee et al., Nature Methods 18, 2021 (doi:10.1038/s41592-020-01008-z): two convolutions with InstanceNorm and
LeakyReLU at every level, stride-2 convolutions down, transposed convolutions up, concatenated skips. The weights are
those of `monai.networks.nets.DynUNet`; the differences are that a head's logits keep the size of their level, as
nnU-Net's (DynUNet enlarges and stacks them), and that a decoder block has the kernel of its own level, as in nnU-Net
since its second version (DynUNet takes that of the level below).
"""

from collections.abc import Sequence

from monai.networks.blocks.dynunet_block import UnetBasicBlock, UnetOutBlock, UnetUpBlock
from torch import Tensor, nn

from kidney_lab.errors import InputError
from kidney_lab.networks.blocks import initialize_he

PerAxis = int | Sequence[int]
"""One number for every axis, or three in the order (D, H, W)."""

_NORM = ("INSTANCE", {"affine": True})


class PlainUNet3d(nn.Module):
    """3D U-Net of plain blocks, `n_levels = len(channels)`.

    Args:
        in_channels: of the input.
        out_channels: of the logits.
        channels: of the features of every level, finest first.
        strides: from each level to the next coarser one.
        kernel_size: of the convolutions, one for all levels or one for each.
        supervised_levels: decoder outputs that have a head, from the finest on; 1: no deep supervision.

    Raises:
        InputError: the numbers of levels do not agree, or there cannot be so many heads.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int],
        strides: Sequence[PerAxis],
        *,
        kernel_size: int | Sequence[PerAxis] = 3,
        supervised_levels: int = 1,
    ) -> None:
        super().__init__()
        n_levels = len(channels)
        kernels = [kernel_size] * n_levels if isinstance(kernel_size, int) else list(kernel_size)
        _check_levels(n_levels, len(strides), len(kernels), supervised_levels)
        self.encoder = nn.ModuleList(
            UnetBasicBlock(3, inputs, outputs, kernel, stride, _NORM)
            for inputs, outputs, kernel, stride in zip(
                (in_channels, *channels[:-1]), channels, kernels, (1, *strides), strict=True
            )
        )
        self.decoder = nn.ModuleList(
            UnetUpBlock(3, coarse, fine, kernel, stride, stride, _NORM, trans_bias=True)
            for fine, coarse, kernel, stride in zip(channels[:-1], channels[1:], kernels[:-1], strides, strict=True)
        )
        self.heads = nn.ModuleList(UnetOutBlock(3, width, out_channels) for width in channels[:supervised_levels])
        self.apply(initialize_he)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Segments a patch.

        Args:
            x: `(B, in_channels, D, H, W)` of a size that the strides divide.

        Returns:
            Logits `(B, out_channels, D, H, W)`; in training with deep supervision a list of them, finest first, each of
            its own level's size.
        """
        features = []
        for stage in self.encoder:
            x = stage(x)
            features.append(x)
        x = features.pop()
        heads = self.heads if self.training else self.heads[:1]
        logits: list[Tensor] = []
        for level in reversed(range(len(self.decoder))):
            x = self.decoder[level](x, features.pop())
            if level < len(heads):
                logits.insert(0, heads[level](x))
        return logits if len(heads) > 1 else logits[0]


def _check_levels(n_levels: int, n_strides: int, n_kernels: int, supervised_levels: int) -> None:
    if n_levels < 2 or n_strides != n_levels - 1 or n_kernels != n_levels:
        raise InputError(
            f"The network has {n_levels} channels, {n_strides} strides and {n_kernels} kernels, but takes one of each "
            "for every level, two levels at least, and one stride less: set model.channels, model.strides and "
            "model.kernel_size together, as task=fingerprint prints them."
        )
    whole = isinstance(supervised_levels, int) and not isinstance(supervised_levels, bool)
    if not whole or not 1 <= supervised_levels < n_levels:
        raise InputError(
            f"model.supervised_levels={supervised_levels} is not possible with {n_levels} levels: choose 1 (no deep "
            f"supervision) to {n_levels - 1}."
        )
