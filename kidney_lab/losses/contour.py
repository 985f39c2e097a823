"""The contour of a reference, and a loss for networks that predict it beside the segmentation.

J. Lin and Y. Chen, "Kidney Tumor Image Segmentation Algorithm based on Deep Learning", section 2.2.2, weight the
cross-entropy on "the contour region of the segmentation result" and add a "boundary monitoring branch" to the last
decoder layer. Chosen where they are silent: the contour is the reference's, dilation minus erosion by 3x3x3 voxels; the
edge of a patch is none; the branch is a head that learns this contour by binary cross-entropy.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kidney_lab.errors import InputError
from kidney_lab.numbers import is_number


def contour(target: Tensor) -> Tensor:
    """Voxels where any channel's dilation by 3x3x3 voxels is more than its erosion.

    Args:
        target: 0 or 1, one-hot labels or regions that overlap, `(B, C, D, H, W)`, up to 15 channels.

    Returns:
        `(B, 1, D, H, W)`, bool.
    """
    code = torch.zeros_like(target[:, :1], dtype=torch.int16)  # a bit for every channel, so that one pass does for all
    for channel in range(target.shape[1]):
        code |= (target[:, channel : channel + 1] > 0.5).to(torch.int16) << channel
    return _neighbourhood_maximum(code) != -_neighbourhood_maximum(-code)


def _neighbourhood_maximum(values: Tensor) -> Tensor:
    """Maximum over 3x3x3 voxels, axis by axis; with small integers much faster on a CPU than max-pooling."""
    for axis in range(2, values.ndim):
        n = values.shape[axis] - 1
        pairs = torch.maximum(values.narrow(axis, 0, n), values.narrow(axis, 1, n))
        first, last = values.narrow(axis, 0, 1), values.narrow(axis, n, 1)
        values = torch.maximum(torch.cat([first, pairs], axis), torch.cat([pairs, last], axis))
    return values


class ContourSupervisionLoss(nn.Module):
    """A segmentation loss, and `weight` times the binary cross-entropy of a contour head where the network has one.

    Args:
        loss: of logits and target.
        weight: of the contour head's cross-entropy, 0 or more.

    Raises:
        InputError: if the weight is negative or no finite number.
    """

    def __init__(self, loss: nn.Module, *, weight: float = 1.0) -> None:
        super().__init__()
        if not is_number(weight) or weight < 0:
            raise InputError(
                f"model.boundary_head_weight={weight} must be a number of 0 or more: write 0 to leave it out."
            )
        self.loss = loss
        self.weight = weight

    def forward(self, input: Tensor | Sequence[Tensor], target: Tensor) -> Tensor:
        """Loss of a batch.

        Args:
            input: logits `(B, C, D, H, W)`; or these and those of the contour, `(B, 1, D, H, W)`, which is what a
                network with a contour head gives in training mode alone.
            target: 0 or 1, of the shape of the logits.

        Returns:
            Scalar.
        """
        if isinstance(input, Tensor):
            value: Tensor = self.loss(input, target)
            return value
        logits, edge = input
        head = F.binary_cross_entropy_with_logits(edge.float(), contour(target).float())
        total: Tensor = self.loss(logits, target) + self.weight * head
        return total
