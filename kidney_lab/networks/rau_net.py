"""RAU-Net: an Attention U-Net of residual blocks, a row of Table 1 of MSALDS.

Guo et al., "RAU-Net: U-Net model based on residual and attention for kidney and kidney tumor segmentation", ICCECE
2021, pp. 353-356: Attention U-Net (Oktay et al., arXiv 1804.03999), its convolutions replaced by residual blocks.
Channels and the shortcut's form are those of `ResUNet`, from which this network differs by its gates alone; these are
MONAI's, which look at the features from below after these are enlarged, and have half of a level's channels inside.
"""

from collections.abc import Sequence
from functools import partial

import torch
from monai.networks.layers.factories import Conv
from monai.networks.nets.attentionunet import AttentionBlock
from torch import Tensor, nn

from kidney_lab.networks.residual_block import ResidualBlock
from kidney_lab.networks.u_shape import UShape


class RAUNet(nn.Module):
    """U-Net of residual blocks whose skips pass attention gates; batch normalization and ReLU.

    Args:
        spatial_dims: 2 (the paper's axial slices) or 3.
        in_channels: of the image.
        out_channels: of the logits.
        channels: of every level, finest first; the size halves from level to level.

    Raises:
        InputError: if there are fewer than two levels.
    """

    def __init__(
        self,
        *,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 2,
        channels: Sequence[int] = (64, 128, 256, 512, 1024),
    ) -> None:
        super().__init__()
        block = partial(ResidualBlock, spatial_dims)
        self.body = UShape(
            spatial_dims=spatial_dims,
            in_channels=in_channels,
            channels=channels,
            encoder=block,
            bottleneck=block,
            decoder=partial(GatedResidualBlock, spatial_dims),
        )
        self.head = Conv["conv", spatial_dims](channels[0], out_channels, kernel_size=1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits `(B, out_channels, [D,] H, W)` of images `(B, in_channels, [D,] H, W)`.

        Raises:
            InputError: if the size does not fit, see `UShape`.
        """
        logits: Tensor = self.head(self.body(image)[0])
        return logits


class GatedResidualBlock(nn.Module):
    """Decoder block: a gate weighs every pixel of the skip by what comes from below, a residual block takes both.

    Args:
        spatial_dims: 2 or 3.
        in_channels: of the skip and of what comes from below together, half each.
        out_channels: of the output.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        own = in_channels // 2
        self.gate = AttentionBlock(spatial_dims, f_int=max(own // 2, 1), f_g=own, f_l=own)
        self.block = ResidualBlock(spatial_dims, in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Features `(B, C_out, [D,] H, W)` of the skip, then what comes from below: `(B, C_in, [D,] H, W)`."""
        skip, below = x.chunk(2, dim=1)
        result: Tensor = self.block(torch.cat((self.gate(g=below, x=skip), below), dim=1))
        return result
