"""Cross-entropy that weighs difficult pixels more, and the segmentation loss of MSALDS that contains it.

Zheng et al., "Multi-scale adversarial learning and difficult supervision for kidney and kidney tumor segmentation
methods", BMVC 2022, Eqs. 1 to 3. The confidence map M of a discriminator tells where a prediction passes for a
reference; where it does not, the cross-entropy counts more.

What the paper leaves open, and what was chosen:
- λ carries no gradient (`detach`): through M the segmentation network could lower the loss by deceiving the
  discriminator, which is L_adv's job, and the discriminator would be trained by the segmentation loss.
- λ CE is averaged over pixels, not divided by the sum of λ: where the discriminator is deceived everywhere (M = 1) the
  cross-entropy vanishes and Dice is left alone. `min_weight` keeps a share of it.

The paper's networks are binary. Where a network has several regions, one discriminator judges their masks together, and
a pixel has the same λ in all of them.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from kidney_lab.errors import InputError
from kidney_lab.losses.adversarial import adversarial_loss

Weight = Callable[[Tensor], Tensor]
"""From a confidence map, 0 to 1, to the weight of every pixel."""


def difficulty_weight(confidence: Tensor) -> Tensor:
    """λ of Eq. 2, `(1 - M)² + |1 - M|`: 2 where M = 0, 0.75 where M = 0.5, 0 where M = 1.

    Args:
        confidence: M, any shape, 0 (taken for a prediction) to 1 (taken for a reference).

    Returns:
        Weights of the same shape, 0 to 2.
    """
    difficulty = 1 - confidence
    return difficulty.square() + difficulty.abs()


def power_weight(confidence: Tensor, *, exponent: float = 1.0) -> Tensor:
    """`(1 - M)^exponent`, a weight in the manner of difficulty-aware attention and of the focal loss.

    For the comparison with Nie et al., "Difficulty-aware attention network with confidence learning for medical image
    segmentation", AAAI 2019, doi:10.1609/aaai.v33i01.33011085, whose exponent the MSALDS paper does not pass on.

    Args:
        confidence: M, any shape, 0 to 1.
        exponent: above 0; the larger, the less do easy pixels count.

    Returns:
        Weights of the same shape, 0 to 1.
    """
    return (1 - confidence).pow(exponent)


def difficulty_cross_entropy(
    logits: Tensor,
    target: Tensor,
    confidence: Tensor | None = None,
    *,
    detach: bool = True,
    min_weight: float = 0.0,
    weight: Weight = difficulty_weight,
) -> Tensor:
    """L_dce of Eq. 1: binary cross-entropy, every pixel weighted by its difficulty λ, averaged over pixels.

    Args:
        logits: `(B, C, [D,] H, W)`, each channel a binary problem.
        target: of the same shape, 0 to 1.
        confidence: M of the prediction, of the same shape, or with one channel for all C, 0 to 1; None: plain
            cross-entropy.
        detach: whether λ is a constant; otherwise gradient runs into the discriminator and through its input.
        min_weight: smallest λ.
        weight: λ as a function of M.

    Returns:
        Scalar, 0 or larger.

    Raises:
        ValueError: if the shapes do not fit.
    """
    target = target.to(logits.dtype)
    if confidence is None:
        return F.binary_cross_entropy_with_logits(logits, target)
    if confidence.shape not in (logits.shape, logits[:, :1].shape):
        raise ValueError(
            f"confidence has shape {tuple(confidence.shape)}, logits {tuple(logits.shape)}: must be equal but for the "
            "channels, of which confidence may have one."
        )
    weights = weight(confidence.detach() if detach else confidence).clamp(min=min_weight)
    return (weights * F.binary_cross_entropy_with_logits(logits, target, reduction="none")).mean()


class SegmentationTerms(NamedTuple):
    """The segmentation loss of one decoder stage and what it consists of: scalars, for the step and for the log.

    Args:
        total: L_seg, the one to go backward from.
        dice: L_dice.
        cross_entropy: L_dce, or plain cross-entropy.
        adversarial: L_adv before its weight; 0 without a discriminator.
        weight: mean of λ, which tells how far the discriminator is deceived; 1 where nothing is weighted.
    """

    total: Tensor
    dice: Tensor
    cross_entropy: Tensor
    adversarial: Tensor
    weight: Tensor


class DifficultyLoss(nn.Module):
    """L_seg of Eq. 3, `L_dice + L_dce + λ1 L_adv`, of one decoder stage.

    Args:
        dice: Dice loss of logits and target, such as `monai.losses.DiceLoss(sigmoid=True)`.
        difficulty: whether the cross-entropy is weighted by λ.
        adversarial_weight: λ1; 0.05 in the paper.
        detach_difficulty: see `difficulty_cross_entropy`.
        min_weight: see `difficulty_cross_entropy`.
        weight: see `difficulty_cross_entropy`.

    Raises:
        InputError: if a weight is negative.
    """

    def __init__(
        self,
        *,
        dice: Callable[[Tensor, Tensor], Tensor],
        difficulty: bool = True,
        adversarial_weight: float = 0.05,
        detach_difficulty: bool = True,
        min_weight: float = 0.0,
        weight: Weight = difficulty_weight,
    ) -> None:
        super().__init__()
        for name, value in (("adversarial_weight", adversarial_weight), ("min_weight", min_weight)):
            if value < 0:
                raise InputError(f"{name}={value} is negative: choose 0 or more.")
        self.dice = dice
        self.difficulty = difficulty
        self.adversarial_weight = adversarial_weight
        self.detach_difficulty = detach_difficulty
        self.min_weight = min_weight
        self.weight = weight

    def forward(self, logits: Tensor, target: Tensor, confidence_logits: Tensor | None = None) -> SegmentationTerms:
        """Loss of one decoder stage.

        Args:
            logits: `(B, C, [D,] H, W)` of the segmentation network, float32.
            target: of the same shape, 0 to 1.
            confidence_logits: the discriminator's for this image and prediction, of the same shape, or with one
                channel for all C, float32; gradient of L_adv runs through them. None, where the stage has no
                discriminator: Dice and plain cross-entropy.

        Returns:
            The loss and its terms.

        Raises:
            ValueError: if the shapes do not fit.
        """
        weighted = confidence_logits if self.difficulty else None
        confidence = None if weighted is None else weighted.sigmoid()
        dice = self.dice(logits, target)
        cross_entropy = difficulty_cross_entropy(
            logits,
            target,
            confidence,
            detach=self.detach_difficulty,
            min_weight=self.min_weight,
            weight=self.weight,
        )
        adversarial = logits.new_zeros(()) if confidence_logits is None else adversarial_loss(confidence_logits)
        total = dice + cross_entropy + self.adversarial_weight * adversarial
        return SegmentationTerms(total, dice, cross_entropy, adversarial, self._mean_weight(logits, confidence))

    def _mean_weight(self, logits: Tensor, confidence: Tensor | None) -> Tensor:
        if confidence is None:
            return logits.new_ones(())
        return self.weight(confidence.detach()).clamp(min=self.min_weight).mean()
