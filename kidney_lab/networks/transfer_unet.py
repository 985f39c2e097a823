"""U-Net on an encoder that was made for classifying photographs: the useful reading of the transfer-learning ensemble.

Nagarajan and Ramprasath, IJETT 72(9), 2024, say of the decoder only that a new output layer stands on pretrained
features (Eqs. 3 and 4), and show masks of full resolution. Chosen: the U-Net of segmentation_models_pytorch, which
takes encoders of any kind, and whose last convolution is that layer; before it the dropout that section 4 names.
"""

from collections.abc import Sequence

from segmentation_models_pytorch import Unet
from torch import Tensor, nn

from kidney_lab.errors import InputError
from kidney_lab.networks.encoders import ALEXNET, known_encoder, refuse_small


class TransferUNet(nn.Module):
    """Unet of segmentation_models_pytorch, with dropout before its last convolution.

    Its decoder interpolates to the size of every skip, so that sides need not divide by 32.

    Args:
        encoder: name of one of segmentation_models_pytorch, or of timm with `tu-` before it; random weights.
        in_channels: of the image.
        out_channels: of the logits.
        decoder_channels: of the decoder's levels, coarsest first; as many as the encoder halves the size.
        dropout: share of the last features that are left out in training (chosen; the paper names no rate).

    Raises:
        InputError: there is no such encoder, or it has no features to skip to.
    """

    def __init__(
        self,
        *,
        encoder: str,
        in_channels: int = 3,
        out_channels: int = 1,
        decoder_channels: Sequence[int] = (256, 128, 64, 32, 16),
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        if encoder == ALEXNET:
            raise InputError("The encoder alexnet has no features for the skips of a U-Net: set model.decoder=linear.")
        with known_encoder(encoder):
            unet = Unet(
                encoder,
                encoder_depth=len(decoder_channels),
                encoder_weights=None,
                decoder_channels=tuple(decoder_channels),
                in_channels=in_channels,
                classes=out_channels,
            )
        self.encoder_name = encoder
        self.encoder, self.decoder = unet.encoder, unet.decoder
        self.head = nn.Sequential(nn.Dropout(dropout), unet.segmentation_head)

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
        logits: Tensor = self.head(self.decoder(self.encoder(image)))
        return logits
