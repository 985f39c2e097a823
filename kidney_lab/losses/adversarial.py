"""Adversarial losses on confidence maps: what the segmentation network gains by deceiving, what the discriminator pays.

Zheng et al., "Multi-scale adversarial learning and difficult supervision for kidney and kidney tumor segmentation
methods", BMVC 2022, Eqs. 4 and 5. Eq. 4 writes D(S(X)) and leaves the image out, Eq. 5 writes D(X, P): the
discriminator sees image and mask in both. Everything takes logits and averages over pixels; inputs should be float32,
since half precision rounds what is left of a confidence near 1.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kidney_lab.errors import InputError


def adversarial_loss(fake_logits: Tensor) -> Tensor:
    """L_adv of Eq. 4, `BCE(D(X, P), 1)`: small where the prediction passes for a reference.

    It reaches the discriminator's parameters too: whoever steps the segmentation network freezes these.

    Args:
        fake_logits: the discriminator's, of image and prediction, any shape.

    Returns:
        Scalar, 0 or larger.
    """
    return F.binary_cross_entropy_with_logits(fake_logits, torch.ones_like(fake_logits))


def discriminator_loss(fake_logits: Tensor, real_logits: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """L_D of Eq. 5, `1/2 (BCE(D(X, P), 0) + BCE(D(X, Y), 1))`.

    References are exactly 0 or 1 and predictions are not: a discriminator may tell them apart by that alone. Smoothing
    (one-sided: Salimans et al., "Improved techniques for training GANs", NeurIPS 2016) keeps it from being certain.

    Args:
        fake_logits: of image and prediction, any shape; the prediction is to be detached, so that the segmentation
            network gets no gradient.
        real_logits: of image and reference, any shape.
        label_smoothing: references count as `1 - label_smoothing`; from 0 (the paper) to below 0.5.

    Returns:
        Scalar, 0 or larger.
    """
    fake = F.binary_cross_entropy_with_logits(fake_logits, torch.zeros_like(fake_logits))
    real = F.binary_cross_entropy_with_logits(real_logits, torch.full_like(real_logits, 1 - label_smoothing))
    return (fake + real) / 2


class DiscriminatorLoss(nn.Module):
    """`discriminator_loss` with its setting.

    Args:
        label_smoothing: see there.

    Raises:
        InputError: if the smoothing lies outside 0 to below 0.5.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 0.5:
            raise InputError(
                f"label_smoothing={label_smoothing} is out of range: choose 0 (none) to below 0.5, as 0.1."
            )
        self.label_smoothing = label_smoothing

    def forward(self, fake_logits: Tensor, real_logits: Tensor) -> Tensor:
        """Scalar L_D of the discriminator's logits for predictions and for references."""
        return discriminator_loss(fake_logits, real_logits, label_smoothing=self.label_smoothing)
