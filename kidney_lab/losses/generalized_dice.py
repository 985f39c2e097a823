"""Generalised Dice of soft segmentations: one overlap of several classes, in which small ones weigh as much as large.

C. H. Sudre et al., "Generalised Dice overlap as a deep learning loss function for highly unbalanced segmentations",
DLMIA 2017, doi:10.1007/978-3-319-67558-9_28; Eq. 2.2 of Hao's thesis (Melbourne 2024), which leaves the weights open.
The score of label maps is `kidney_lab.metrics.generalized_dice`.

The formula and the weight of an absent class are those of MONAI's `GeneralizedDiceLoss`. What differs is where its
smoothing takes over. There it is added to sums that the weights have made tiny: a class of n voxels weighs 1 / n², so
that its sums are near 1 / n, and from 100 000 voxels on no larger than the 1e-5 beside them; and where a patch holds no
class at all the weights are 0, and with them the gradient. Here the rarest class weighs 1 and the others less, which is
the same ratio, so that the smoothing counts voxels.
"""

from collections.abc import Mapping
from typing import Final, Literal

import torch
from torch import Tensor, nn

from kidney_lab.errors import InputError

Weight = Literal["square", "simple", "uniform"]

EXPONENTS: Final[Mapping[Weight, int]] = {"square": 2, "simple": 1, "uniform": 0}
"""Power of a class's volume that divides its overlap, under MONAI's names; Sudre's is "square"."""


def generalized_dice(
    input: Tensor,
    target: Tensor,
    *,
    w_type: Weight = "square",
    batch: bool = False,
    smooth: float = 1e-5,
) -> Tensor:
    """Generalised Dice `2 sum_l(w_l sum p g) / sum_l(w_l sum(p + g))`, with `w_l = 1 / (sum g)²`.

    A class that the target lacks would weigh infinitely much: it gets the largest weight of the others, and if the
    target lacks all, every class weighs the same.

    With "square" the rarest class decides nearly alone, and where only a few of its voxels reach into a patch the value
    jumps from patch to patch: `batch=True`, larger batches or `w_type="simple"` calm it.

    Args:
        input: probabilities `(B, C, D, H, W)` or `(B, C, H, W)`, 0 to 1.
        target: one-hot or multi-label, of the same shape, 0 or 1.
        w_type: "square" (Sudre), "simple" (`1 / sum g`) or "uniform" (1).
        batch: sum over the samples before dividing, so that the batch is one volume.
        smooth: voxels of the rarest class that are added above and below the fraction; makes an empty input and an
            empty target agree.

    Returns:
        `(B,)`, or a scalar if `batch`; 0 to 1, larger is better.
    """
    axes = ([0] if batch else []) + list(range(2, input.ndim))
    overlap, predicted, wanted = ((input * target).sum(axes), input.sum(axes), target.sum(axes))
    weights = _weights(wanted, w_type)
    return (2 * (weights * overlap).sum(-1) + smooth) / ((weights * (predicted + wanted)).sum(-1) + smooth)


def _weights(wanted: Tensor, w_type: Weight) -> Tensor:
    """Weights `(..., C)` of classes of so many voxels, scaled so that the rarest weighs 1."""
    present = wanted > 0
    rarest = wanted.where(present, torch.inf).amin(-1, keepdim=True)
    return torch.where(present, rarest / wanted, 1.0) ** EXPONENTS[w_type]


class GeneralizedDiceLoss(nn.Module):
    """`1 - generalized_dice`, averaged over the samples unless `batch`, with its settings and of logits.

    Args:
        softmax: the input is logits of classes that exclude each other, the background among them.
        sigmoid: the input is logits of channels that may overlap. With neither, it is probabilities.
        w_type: see `generalized_dice`, as the next.
        batch: sums over the samples before dividing.
        smooth: voxels of the rarest class added above and below the fraction.

    Raises:
        InputError: the input is to be both, or there is no such weight.
    """

    def __init__(
        self,
        *,
        softmax: bool = False,
        sigmoid: bool = False,
        w_type: Weight = "square",
        batch: bool = False,
        smooth: float = 1e-5,
    ) -> None:
        super().__init__()
        if softmax and sigmoid:
            raise InputError(
                "loss.softmax and loss.sigmoid are both true, but channels either overlap or not: choose one."
            )
        if w_type not in EXPONENTS:
            raise InputError(f"loss.w_type={w_type} is unknown: choose one of {', '.join(EXPONENTS)}.")
        self.softmax = softmax
        self.sigmoid = sigmoid
        self.w_type: Weight = w_type
        self.batch = batch
        self.smooth = smooth

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Scalar loss, 0 to 1, of an input and a target of the same shape `(B, C, [D,] H, W)`."""
        if self.softmax:
            input = input.softmax(dim=1)
        elif self.sigmoid:
            input = input.sigmoid()
        similarity = generalized_dice(input, target, w_type=self.w_type, batch=self.batch, smooth=self.smooth)
        return 1 - similarity.mean()
