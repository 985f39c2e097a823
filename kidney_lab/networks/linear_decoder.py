"""A linear layer on an encoder's last features: the literal reading of the transfer-learning ensemble.

Nagarajan and Ramprasath, IJETT 72(9), 2024, Eqs. 3 and 4: `Features = F_pretrained(I)`, `Y = W Features + b`. The paper
leaves open where in the network and at which resolution; here the features are the last ones, of stride 32, W and b are
a convolution of 1x1, and its answer is interpolated to the image's pixels. Blobs come of it, where the paper's figures
show sharp masks: `transfer_unet` is the other reading.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from kidney_lab.networks.encoders import build_encoder, refuse_small


class LinearDecoder(nn.Module):
    """Dropout and a 1x1 convolution on the last features of an encoder, interpolated linearly to the input's size.

    Args:
        encoder: see `build_encoder`.
        in_channels: of the image.
        out_channels: of the logits.
        dropout: share of features that are left out in training (chosen; the paper names dropout and no rate).

    Raises:
        InputError: there is no such encoder.
    """

    def __init__(self, *, encoder: str, in_channels: int = 3, out_channels: int = 1, dropout: float = 0.2) -> None:
        super().__init__()
        self.encoder_name = encoder
        self.encoder, channels = build_encoder(encoder, in_channels)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Conv2d(channels[-1], out_channels, kernel_size=1))

    def forward(self, image: Tensor) -> Tensor:
        """Logits of images.

        Args:
            image: `(B, in_channels, H, W)`, of any size that the encoder takes.

        Returns:
            `(B, out_channels, H, W)`.

        Raises:
            InputError: the image is too small for the encoder.
        """
        refuse_small(image, self.encoder_name)
        coarse = self.head(self.encoder(image)[-1])
        return F.interpolate(coarse, size=image.shape[2:], mode="bilinear", align_corners=False)
