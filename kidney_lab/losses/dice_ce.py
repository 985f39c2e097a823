"""Dice and cross-entropy, nnU-Net's loss, for classes that exclude each other and for regions that overlap."""

from monai.losses import DiceCELoss as MonaiDiceCELoss
from torch import Tensor


class DiceCELoss(MonaiDiceCELoss):  # type: ignore[misc]  # MONAI has no types
    """MONAI's `DiceCELoss`, whose cross-entropy is binary in every channel with `sigmoid=True`.

    MONAI's own takes the binary one for a single channel only; with several it would let regions compete in a softmax,
    although they overlap. All arguments are MONAI's.
    """

    def ce(self, input: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy of logits and target of the same shape `(B, C, D, H, W)`."""
        value: Tensor = self.bce(input, target) if self.dice.sigmoid else super().ce(input, target)
        return value
