"""SegNet: the decoder puts every value back where its maximum was, and has no skips.

Badrinarayanan, Kendall and Cipolla, "SegNet: A deep convolutional encoder-decoder architecture for image segmentation",
IEEE TPAMI 39(12), 2017, doi:10.1109/TPAMI.2016.2644615, section 3; a row of Table 2 of the transfer-learning ensemble
(paper 003). The encoder is the 13 convolutions of VGG16 with batch normalization, by torchvision's names, so that its
ImageNet weights fit; the decoder mirrors it, the last convolution being the classifier.
"""

from collections.abc import Sequence
from itertools import chain, pairwise
from math import prod

from torch import Tensor, nn
from torchvision.models.vgg import make_layers

from kidney_lab.errors import InputError

Pooled = list[tuple[Tensor, Sequence[int]]]
"""Of every level: where its maxima were, and its size before pooling."""


class SegNetEncoder(nn.Module):
    """The convolutions of a VGG, whose poolings tell where their maxima were.

    Args:
        in_channels: of the image.
        channels: of every level, finest first; a pooling ends each.
        convolutions: in every level.
    """

    def __init__(self, *, in_channels: int, channels: Sequence[int], convolutions: Sequence[int]) -> None:
        super().__init__()
        levels = ([width] * number + ["M"] for width, number in zip(channels, convolutions, strict=True))
        self.features = make_layers(list(chain.from_iterable(levels)), batch_norm=True)
        if in_channels != 3:
            self.features[0] = nn.Conv2d(in_channels, channels[0], 3, padding=1)
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                layer.return_indices = True

    def forward(self, image: Tensor) -> tuple[Tensor, Pooled]:
        """Features `(B, channels[-1], h, w)` of images `(B, C, H, W)`, and what unpooling needs, finest level first."""
        x = image
        pooled: Pooled = []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                size = x.shape[2:]
                x, indices = layer(x)
                pooled.append((indices, size))
            else:
                x = layer(x)
        return x, pooled


class SegNet(nn.Module):
    """Encoder, and a decoder that unpools by the encoder's indices.

    Args:
        in_channels: of the image.
        out_channels: of the logits.
        channels: of the encoder's levels, finest first; VGG16's by default.
        convolutions: in every level; VGG16's by default.
        dropout: share of the last features that are left out in training (the paper has none).

    Raises:
        InputError: channels and convolutions are no lists of the same levels.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        out_channels: int = 1,
        channels: Sequence[int] = (64, 128, 256, 512, 512),
        convolutions: Sequence[int] = (2, 2, 3, 3, 3),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not all(isinstance(levels, Sequence) for levels in (channels, convolutions)) or not (
            0 < len(channels) == len(convolutions)
        ):
            raise InputError(
                f"model.channels={channels} and model.convolutions={convolutions} are no levels of a SegNet: give two "
                "lists of the same length."
            )
        self.encoder = SegNetEncoder(in_channels=in_channels, channels=channels, convolutions=convolutions)
        finer = [*([width] for width in reversed(channels[:-1])), []]  # the finest level's last one is the head
        self.decoder = nn.ModuleList(
            _convolved(width, [width] * (number - 1) + out)
            for width, number, out in zip(reversed(channels), reversed(convolutions), finer, strict=True)
        )
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Conv2d(channels[0], out_channels, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        """Logits `(B, out_channels, H, W)` of images `(B, in_channels, H, W)`, each side at least 2 to the levels."""
        x, pooled = self.encoder(image)
        for block, (indices, size) in zip(self.decoder, reversed(pooled), strict=True):
            x = block(unpool(x, indices, size))
        logits: Tensor = self.head(x)
        return logits


def unpool(values: Tensor, indices: Tensor, size: Sequence[int]) -> Tensor:
    """Puts values back where the maxima were, zeros elsewhere; `MaxUnpool2d`, which torch has in no repeatable form.

    Args:
        values: `(B, C, h, w)`.
        indices: `(B, C, h, w)`, places in the flattened `(H, W)`.
        size: `(H, W)`.

    Returns:
        `(B, C, H, W)`.
    """
    flat = values.new_zeros(*values.shape[:2], prod(size))
    return flat.scatter(2, indices.flatten(2), values.flatten(2)).view(*values.shape[:2], *size)


def _convolved(in_channels: int, channels: Sequence[int]) -> nn.Sequential:
    """Convolutions of 3x3, each with batch normalization and ReLU."""
    layers: list[nn.Module] = []
    for above, own in pairwise((in_channels, *channels)):
        layers += [nn.Conv2d(above, own, 3, padding=1), nn.BatchNorm2d(own), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
