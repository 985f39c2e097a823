"""MSALDS-UNet's segmentation network: residual U-Net, SE in the encoder, dilated blocks, a head per decoder stage.

Zheng et al., "Multi-scale adversarial learning and difficult supervision for kidney and kidney tumor segmentation
methods", BMVC 2022, section 2.2 and Figure 2.

What the paper leaves open, and what was chosen:
- Channels ("enhanced UNet"): U-Net's 64 to 1024.
- "Intermedia layers between encoder and decoder": the bottleneck consists of the dilated blocks
  (`dilated="bottleneck"`), or every skip passes through them (`dilated="skips"`).
- Their number and dilation: three, 1, 2 and 4. The squeeze ratio: 16, Hu et al.'s.
- The outputs of the decoder stages: 1x1 convolutions, since the discriminators compare them with masks.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final, Literal, get_args

from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from kidney_lab.errors import InputError
from kidney_lab.networks.residual_block import Layer, ResidualBlock
from kidney_lab.networks.u_shape import UShape

Dilated = Literal["bottleneck", "skips"]
PLACES: Final = get_args(Dilated)


class MSALDSUNet(nn.Module):
    """Residual U-Net with squeeze-and-excitation, dilated residual blocks and deep supervision.

    Args:
        spatial_dims: 2 (the paper's axial slices) or 3.
        in_channels: of the image.
        out_channels: of the logits; the paper's networks are binary.
        channels: of every level, finest first; the size halves from level to level.
        dilations: of the dilated residual blocks, in the order in which they follow each other, in pixels.
        dilated: where these blocks are: they are the bottleneck, or stand in every skip.
        se_ratio: of squeeze-and-excitation in the encoder; None: without.
        deep_supervision: whether every decoder stage has a head; otherwise the finest alone, under the same name.
        norm: normalization in MONAI's words.
        act: activation in MONAI's words.

    Raises:
        InputError: if there are fewer than two levels, a dilation or the ratio does not fit, or there is no such place.
    """

    def __init__(
        self,
        *,
        spatial_dims: int = 2,
        in_channels: int = 1,
        out_channels: int = 1,
        channels: Sequence[int] = (64, 128, 256, 512, 1024),
        dilations: Sequence[int] = (1, 2, 4),
        dilated: Dilated = "bottleneck",
        se_ratio: int | None = 16,
        deep_supervision: bool = True,
        norm: Layer = "batch",
        act: Layer = "relu",
    ) -> None:
        super().__init__()
        _check(channels, dilations, dilated, se_ratio)
        block = partial(ResidualBlock, spatial_dims, norm=norm, act=act)
        chain = partial(_dilated_blocks, block, dilations)
        self.deep_supervision = deep_supervision
        self.body = UShape(
            spatial_dims=spatial_dims,
            in_channels=in_channels,
            channels=channels,
            encoder=partial(block, se_ratio=se_ratio),
            bottleneck=chain if dilated == "bottleneck" else block,
            decoder=block,
            skip=chain if dilated == "skips" else nn.Identity,
        )
        supervised = channels[:-1] if deep_supervision else channels[:1]
        self.heads = nn.ModuleList(
            Conv["conv", spatial_dims](width, out_channels, kernel_size=1) for width in supervised
        )

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """Logits of images.

        Args:
            image: `(B, in_channels, [D,] H, W)`; every side a multiple of 2 to the number of halvings.

        Returns:
            `(B, out_channels, [D,] H, W)`, of the image's size; while training with deep supervision a list of these,
            one per decoder stage, finest first, each half the size of the one before.

        Raises:
            InputError: if the size does not fit.
        """
        features = self.body(image)
        if self.training and self.deep_supervision:
            return [head(feature) for head, feature in zip(self.heads, features, strict=True)]
        logits: Tensor = self.heads[0](features[0])
        return logits


def _dilated_blocks(
    block: partial[ResidualBlock], dilations: Sequence[int], in_channels: int, out_channels: int
) -> nn.Module:
    """Residual blocks one after another; the first changes the number of channels."""
    widths = (in_channels, *[out_channels] * (len(dilations) - 1))
    return nn.Sequential(*(block(w, out_channels, dilation=d) for w, d in zip(widths, dilations, strict=True)))


def _check(channels: Sequence[int], dilations: Sequence[int], dilated: str, se_ratio: int | None) -> None:
    if dilated not in PLACES:
        raise InputError(f"dilated={dilated} is no place for the dilated blocks: choose out of {', '.join(PLACES)}.")
    if not dilations or min(dilations) < 1:
        raise InputError(f"dilations={list(dilations)} makes no blocks: name one or more, each 1 or larger.")
    narrowest = min(channels[:-1], default=0)
    if se_ratio is not None and not 1 <= se_ratio <= narrowest:
        raise InputError(
            f"se_ratio={se_ratio} does not fit channels={list(channels)}: choose 1 to {narrowest}, the width of the "
            "encoder's narrowest level, or null for no squeeze-and-excitation."
        )
