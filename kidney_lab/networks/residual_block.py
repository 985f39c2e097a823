"""Residual block with dilated convolutions and squeeze-and-excitation, in two or three dimensions.

He et al., "Deep residual learning for image recognition", CVPR 2016, doi:10.1109/CVPR.2016.90 (the block of two 3x3
convolutions); Yu et al., "Dilated residual networks", CVPR 2017, doi:10.1109/CVPR.2017.75; Hu et al.,
"Squeeze-and-excitation networks", CVPR 2018, doi:10.1109/CVPR.2018.00745. MONAI's `UnetResBlock` has no dilation, its
`ResidualUnit` no activation after the sum, its `SEBlock` three convolutions.
"""

from typing import Any

from monai.networks.blocks import ChannelSELayer, Convolution
from monai.networks.layers.utils import get_act_layer
from torch import Tensor, nn

Layer = str | tuple[str, dict[str, Any]]
"""A normalization or an activation in MONAI's words: `"batch"`, or `("group", {"num_groups": 8})`."""


class ResidualBlock(nn.Module):
    """`act(SE(norm(conv(act(norm(conv(x)))))) + shortcut(x))`.

    The shortcut is the identity; where the number of channels changes, a 1x1 convolution and a normalization (He et
    al.'s option B). Squeeze-and-excitation scales the branch before the sum, as in Hu et al.'s SE-ResNet module.

    Args:
        spatial_dims: 2 or 3.
        in_channels: of the input.
        out_channels: of the output.
        dilation: of both convolutions, in pixels; 1 is a plain block.
        se_ratio: by how much squeeze-and-excitation narrows its hidden layer; at most `out_channels`. None: without.
        norm: after every convolution.
        act: after the first convolution and after the sum.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        *,
        dilation: int = 1,
        se_ratio: int | None = None,
        norm: Layer = "batch",
        act: Layer = "relu",
    ) -> None:
        super().__init__()
        shared = {"norm": norm, "bias": False}  # the normalization brings its own shift
        self.conv1 = Convolution(spatial_dims, in_channels, out_channels, dilation=dilation, act=act, **shared)
        self.conv2 = Convolution(spatial_dims, out_channels, out_channels, dilation=dilation, act=None, **shared)
        self.attention = nn.Identity() if se_ratio is None else ChannelSELayer(spatial_dims, out_channels, r=se_ratio)
        self.shortcut = (
            nn.Identity()
            if in_channels == out_channels
            else Convolution(spatial_dims, in_channels, out_channels, kernel_size=1, act=None, **shared)
        )
        self.activation = get_act_layer(act)

    def forward(self, x: Tensor) -> Tensor:
        """Features `(B, C_out, [D,] H, W)` of features `(B, C_in, [D,] H, W)`."""
        branch = self.attention(self.conv2(self.conv1(x)))
        result: Tensor = self.activation(branch + self.shortcut(x))
        return result
