"""Dice and cross-entropy, weighted by class and on the reference's contour.

J. Lin and Y. Chen, "Kidney Tumor Image Segmentation Algorithm based on Deep Learning": 0.6 Dice + 0.4 cross-entropy,
and 2.5 times the cross-entropy on the contour (section 2.2.2); class weights 0.2, 0.8 and 1.5 of background, kidney and
tumor (section 4.1). Chosen where the paper is silent:

- Dice has V-Net's squared denominator, the mean over the foreground's classes and no class weights.
- The contour is the reference's (`kidney_lab.losses.contour`).
- The cross-entropy is the weighted mean over voxels, as torch's is with class weights, so that the unit of neither
  weights changes its share of the loss.
"""

from collections.abc import Sequence

import torch
from monai.losses import DiceLoss
from torch import Tensor, nn
from torch.nn import functional as F

from kidney_lab.errors import InputError
from kidney_lab.losses.contour import contour
from kidney_lab.numbers import is_number
from kidney_lab.wording import counted


def _labels(target: Tensor) -> Tensor:
    """`(B, C, D, H, W)`, one-hot, to `(B, D, H, W)`, int64; on a CPU in a fraction of argmax's time."""
    labels = torch.zeros_like(target[:, 0], dtype=torch.int64)
    for channel in range(1, target.shape[1]):
        labels.masked_fill_(target[:, channel] > 0.5, channel)
    return labels


def boundary_weighted_cross_entropy(
    input: Tensor, target: Tensor, *, weight: Tensor, boundary_weight: float = 2.5
) -> Tensor:
    """Cross-entropy as the mean over voxels, each weighted by its class and, on the contour, by `boundary_weight`.

    `sum_v(w_v CE_v) / sum_v(w_v)` with `w_v = weight[class of v] * (boundary_weight on the contour, 1 elsewhere)`.

    Args:
        input: logits, `(B, C, D, H, W)`.
        target: one-hot reference of the same shape.
        weight: of the classes, `(C,)`, over 0.
        boundary_weight: over 0; 1 for none.

    Returns:
        Scalar, 0 or more.
    """
    labels = _labels(target)
    voxel_weight = weight.to(input)[labels] * torch.where(contour(target)[:, 0], boundary_weight, 1.0)
    return (voxel_weight * F.cross_entropy(input, labels, reduction="none")).sum() / voxel_weight.sum()


class BoundaryWeightedLoss(nn.Module):
    """`lambda_dice * Dice + lambda_ce * weighted cross-entropy`, of logits of the background and every label.

    Args:
        weight: of the classes in cross-entropy, the background's first.
        boundary_weight: factor of the cross-entropy on the reference's contour; 1 for none.
        lambda_dice: weight of the Dice loss.
        lambda_ce: weight of the cross-entropy.
        batch: whether Dice sums over the batch before it divides, as in MONAI's `DiceLoss`.
        softmax: whether the logits' channels exclude each other, as in MONAI's losses; here they must.

    Raises:
        InputError: if a weight of the voxels is not over 0, one of the terms is negative or both are left out, a number
            is not finite, or channels overlap.
    """

    def __init__(
        self,
        *,
        weight: Sequence[float] = (0.2, 0.8, 1.5),
        boundary_weight: float = 2.5,
        lambda_dice: float = 0.6,
        lambda_ce: float = 0.4,
        batch: bool = False,
        softmax: bool = True,
    ) -> None:
        super().__init__()
        if not softmax:
            raise InputError(
                "loss=boundary_weighted and loss=class_weighted have a weight for each label, and regions overlap: set "
                "model.output=labels, or choose loss=dice_ce."
            )
        _check_weights(weight, boundary_weight)
        _check_terms(lambda_dice, lambda_ce)
        self.register_buffer("weight", torch.tensor(list(weight), dtype=torch.float32), persistent=False)
        self.weight: Tensor
        self.boundary_weight = boundary_weight
        self.lambda_dice, self.lambda_ce = lambda_dice, lambda_ce
        self.dice = DiceLoss(include_background=False, softmax=True, squared_pred=True, batch=batch)

    def check_channels(self, channels: int) -> None:
        """Makes sure that there is a weight for every channel of the logits.

        Raises:
            InputError: there is not.
        """
        if channels != len(self.weight):
            raise InputError(
                f"loss.weight has {counted(len(self.weight), 'value')}, but the network "
                f"{counted(channels, 'channel')}: give one weight for the background and every label."
            )

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Loss of a batch.

        Args:
            input: logits, `(B, C, D, H, W)`.
            target: one-hot reference of the same shape.

        Returns:
            Scalar, 0 or more, float32.

        Raises:
            InputError: if there is not one weight a channel.
            ValueError: if the shapes differ.
        """
        self.check_channels(input.shape[1])
        if input.shape != target.shape:
            raise ValueError(f"logits are {tuple(input.shape)}, but the reference is {tuple(target.shape)}")
        input, target = input.float(), target.float()
        cross_entropy = boundary_weighted_cross_entropy(
            input, target, weight=self.weight, boundary_weight=self.boundary_weight
        )
        dice: Tensor = self.dice(input, target)
        return self.lambda_dice * dice + self.lambda_ce * cross_entropy


def _check_weights(weight: Sequence[float], boundary_weight: float) -> None:
    if not isinstance(weight, Sequence) or not all(is_number(value) and value > 0 for value in weight):
        raise InputError(
            f"loss.weight={weight} must be a list of numbers over 0, one for the background and every label: write 1 "
            "for no weight."
        )
    if not is_number(boundary_weight) or boundary_weight <= 0:
        raise InputError(f"loss.boundary_weight={boundary_weight} must be a number over 0: write 1 for no weight.")


def _check_terms(lambda_dice: float, lambda_ce: float) -> None:
    terms = (lambda_dice, lambda_ce)
    if not all(is_number(value) and value >= 0 for value in terms) or not any(terms):
        raise InputError(
            f"loss.lambda_dice={lambda_dice} and loss.lambda_ce={lambda_ce} must not be negative, and one of them over "
            "0: write 0 to leave a term out."
        )
