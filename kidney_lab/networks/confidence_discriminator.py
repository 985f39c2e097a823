"""Discriminator that judges every pixel of a mask: a light U-Net from image and mask to a confidence map.

Zheng et al., "Multi-scale adversarial learning and difficult supervision for kidney and kidney tumor segmentation
methods", BMVC 2022, section 2.2 and Figure 2: the segmentation network's U-Net with one convolution per stage and half
the channels; its output, H x W x 1, is the probability of every pixel to come from a reference.

What the paper leaves open, and what was chosen:
- Normalization: per instance. Batch statistics differ between a batch of references and one of predictions, and their
  running means mix both: on toy masks a discriminator with them calls everything real, or nothing, as soon as it is in
  evaluation mode. Neither does a confidence depend on the other samples.
- Activation: leaky ReLU of slope 0.2, as in the discriminators of Radford et al. (arXiv 1511.06434) and Hung et al.
  (arXiv 1802.07934), on which the paper builds: it keeps gradient for the segmentation network.
- Residual blocks, dilation and squeeze-and-excitation are not mentioned for it: it has none.
"""

from collections.abc import Sequence
from functools import partial

from monai.networks.blocks import Convolution
from monai.networks.layers.factories import Conv
from torch import Tensor, nn

from kidney_lab.networks.residual_block import Layer
from kidney_lab.networks.u_shape import UShape


class ConfidenceDiscriminator(nn.Module):
    """U-Net of single convolutions.

    Args:
        spatial_dims: 2 or 3.
        in_channels: of image and mask together.
        channels: of every level, finest first: half of the segmentation network's; the size halves from level to level.
        norm: normalization in MONAI's words.
        act: activation in MONAI's words.

    Raises:
        InputError: if there are fewer than two levels.
    """

    def __init__(
        self,
        *,
        spatial_dims: int = 2,
        in_channels: int = 2,
        channels: Sequence[int] = (32, 64, 128, 256, 512),
        norm: Layer = ("instance", {"affine": True}),
        act: Layer = ("leakyrelu", {"negative_slope": 0.2}),
    ) -> None:
        super().__init__()
        block = partial(Convolution, spatial_dims, norm=norm, act=act, bias=False)
        self.body = UShape(
            spatial_dims=spatial_dims,
            in_channels=in_channels,
            channels=channels,
            encoder=block,
            bottleneck=block,
            decoder=block,
        )
        self.head = Conv["conv", spatial_dims](channels[0], 1, kernel_size=1)

    def forward(self, image_and_mask: Tensor) -> Tensor:
        """Confidence of every pixel.

        Args:
            image_and_mask: `(B, in_channels, [D,] H, W)`, image and mask concatenated; the mask is a reference (0 or 1)
                or a prediction (probability).

        Returns:
            `(B, 1, [D,] H, W)` logits, large where the mask looks like a reference. Their sigmoid is M of Eq. 2.

        Raises:
            InputError: if the size does not fit, see `UShape`.
        """
        logits: Tensor = self.head(self.body(image_and_mask)[0])
        return logits
