"""Res-UNet: a U-Net of residual blocks, the coarse network of MSALDS and a row of its Table 1.

Zheng et al., "Multi-scale adversarial learning and difficult supervision for kidney and kidney tumor segmentation
methods", BMVC 2022, section 2.1, takes it from Xiao et al., "Weighted Res-UNet for high-quality retina vessel
segmentation", ITME 2018, doi:10.1109/ITME.2018.00080. Xiao's weights belong to the round field of view of a retina and
have no counterpart in CT. Neither the channels nor the shortcut's form are given for kidneys: they are those of U-Net,
and of He et al. (a 1x1 convolution where channels change).
"""

from collections.abc import Sequence
from functools import partial

from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from kidney_lab.networks.residual_block import Layer, ResidualBlock
from kidney_lab.networks.u_shape import UShape


class ResUNet(nn.Module):
    """U-Net whose pairs of convolutions are residual blocks.

    Args:
        spatial_dims: 2 (the paper's axial slices) or 3.
        in_channels: of the image.
        out_channels: of the logits; the paper's coarse network has two, `kidney_and_mass` and `mass`.
        channels: of every level, finest first; the size halves from level to level.
        norm: normalization in MONAI's words.
        act: activation in MONAI's words.

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
        norm: Layer = "batch",
        act: Layer = "relu",
    ) -> None:
        super().__init__()
        block = partial(ResidualBlock, spatial_dims, norm=norm, act=act)
        self.body = UShape(
            spatial_dims=spatial_dims,
            in_channels=in_channels,
            channels=channels,
            encoder=block,
            bottleneck=block,
            decoder=block,
        )
        self.head = Conv["conv", spatial_dims](channels[0], out_channels, kernel_size=1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits `(B, out_channels, [D,] H, W)` of images `(B, in_channels, [D,] H, W)`."""
        logits: Tensor = self.head(self.body(image)[0])
        return logits
