"""The loss of a detector: the sum of its terms, each with a weight.

Mask R-CNN (He et al., ICCV 2017, doi:10.1109/ICCV.2017.322) adds its terms up as they are: whether an anchor is an
object and where (Ren et al., NeurIPS 2015), what a box is and where, and the mask in it.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from kidney_lab.errors import InputError
from kidney_lab.numbers import is_number


class DetectionLoss(nn.Module):
    """Weighted sum of the losses of Mask R-CNN, by torchvision's names.

    Args:
        loss_objectness: weight of the cross-entropy of anchors, object or not.
        loss_rpn_box_reg: of the corners that anchors are moved to.
        loss_classifier: of the cross-entropy of boxes, background, kidney region or tumor.
        loss_box_reg: of the corners that boxes are moved to.
        loss_mask: of the cross-entropy of masks.

    Raises:
        InputError: a weight is negative.
    """

    def __init__(
        self,
        *,
        loss_objectness: float = 1.0,
        loss_rpn_box_reg: float = 1.0,
        loss_classifier: float = 1.0,
        loss_box_reg: float = 1.0,
        loss_mask: float = 1.0,
    ) -> None:
        super().__init__()
        self.weights = {
            "loss_objectness": loss_objectness,
            "loss_rpn_box_reg": loss_rpn_box_reg,
            "loss_classifier": loss_classifier,
            "loss_box_reg": loss_box_reg,
            "loss_mask": loss_mask,
        }
        for name, weight in self.weights.items():
            if not is_number(weight) or weight < 0:
                raise InputError(f"loss.{name}={weight} is no weight: give a number of at least 0.")

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """Adds up.

        Args:
            losses: scalars by name, one for each weight.

        Returns:
            Scalar.
        """
        return torch.stack([losses[name] * weight for name, weight in self.weights.items()]).sum()
