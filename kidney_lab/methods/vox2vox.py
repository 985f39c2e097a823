"""Adversarial training of Vox2Vox: a discriminator of patches, least squares, a segmentation loss that weighs more.

Cirillo et al., "Vox2Vox: 3D-GAN for brain tumour segmentation", BrainLes 2020, arXiv 2003.13653, after Isola et al.,
"Image-to-image translation with conditional adversarial networks", CVPR 2017, doi:10.1109/CVPR.2017.632; details as in
the authors' program (github.com/mdciri/Vox2Vox):

    L_G = 5 generalized Dice(Y, P) + mean((D(X, P) - 1)²)
    L_D = 1/2 (mean((D(X, Y) - 1)²) + mean(D(X, P)²))

for image X, one-hot reference Y, probabilities P and the discriminator's scores D, one for every patch that it sees.
The program steps both networks at once; here they take turns, in which the discriminator meets the same predictions.
"""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from kidney_lab.errors import InputError
from kidney_lab.losses.difficulty import DifficultyLoss
from kidney_lab.methods.alternating import AlternatingSegmentation
from kidney_lab.methods.discriminators import Level
from kidney_lab.methods.output import Output
from kidney_lab.methods.supervised import Batch


class Vox2VoxSegmentation(AlternatingSegmentation):
    """Trains a generator of label maps against a discriminator of patches.

    Logged besides what `SupervisedSegmentation` logs: `train/segmentation_loss`, `train/adv_0` and
    `train/discriminator_0`. The validation loss is the segmentation loss alone, since the discriminator changes.

    Args:
        network: the generator, `(B, C, D, H, W)` image to `(B, K, D, H, W)` logits.
        loss: of logits and target; the paper's is generalized Dice.
        optimizer: of the generator; partial, lacks the parameters.
        scheduler: partial, lacks the optimizer; one for either optimizer.
        output: meaning of the network's channels.
        discriminator: partial, lacks `in_channels`; gives a list whose last are the scores, as
            `monai.networks.nets.PatchDiscriminator`.
        adversarial_loss: of scores, `target_is_real` and `for_discriminator`, as `monai.losses.PatchAdversarialLoss`.
        discriminator_optimizer: partial, lacks the parameters.
        in_channels: of the image.
        segmentation_weight: of the segmentation loss beside the adversarial one.
        gradient_clip_val: see `AlternatingSegmentation`, as the next two.
        gradient_clip_algorithm: of the gradients.
        accumulate_grad_batches: see `AlternatingSegmentation`.

    Raises:
        InputError: the loss needs a confidence for every voxel, or a setting is out of range.
    """

    def __init__(
        self,
        *,
        network: nn.Module,
        loss: nn.Module,
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., LRScheduler],
        output: Output,
        discriminator: Callable[..., nn.Module],
        adversarial_loss: Callable[..., Tensor],
        discriminator_optimizer: Callable[..., Optimizer],
        in_channels: int = 1,
        segmentation_weight: float = 5.0,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = "norm",
        accumulate_grad_batches: int = 1,
    ) -> None:
        if not isinstance(segmentation_weight, int | float) or segmentation_weight < 0:
            raise InputError(
                f"model.segmentation_weight={segmentation_weight} is no weight: give a number of 0 or more, as "
                "the paper's 5."
            )
        super().__init__(
            network=network,
            loss=loss,
            optimizer=optimizer,
            scheduler=scheduler,
            output=output,
            discriminators=discriminator(in_channels=in_channels + output.channels),
            discriminator_optimizer=discriminator_optimizer,
            gradient_clip_val=gradient_clip_val,
            gradient_clip_algorithm=gradient_clip_algorithm,
            accumulate_grad_batches=accumulate_grad_batches,
        )
        self.adversarial_loss = adversarial_loss
        self.segmentation_weight = segmentation_weight

    def check_loss(self, loss: nn.Module) -> None:
        """Makes sure that the loss is one of logits and target.

        Raises:
            InputError: it needs a confidence for every voxel.
        """
        if isinstance(loss, DifficultyLoss):
            raise InputError(
                "loss=difficulty weighs voxels by a discriminator's confidence, and the discriminator of model=vox2vox "
                "judges patches: choose loss=generalized_dice, or model=msalds."
            )

    def levels(self, batch: Batch) -> list[Level]:
        """The one level: image, logits and target of the image's size."""
        return [Level(batch["image"], self(batch["image"]).float(), self.output.target(batch["label"]))]

    def judgements(self, levels: list[Level]) -> list[Tensor]:
        """The discriminator's scores of the prediction."""
        return [self.judge(level.image, self.output.probabilities(level.logits)) for level in levels]

    def segmentation_loss(self, levels: list[Level]) -> tuple[Tensor, dict[str, Tensor]]:
        """L_G and its terms before their weights."""
        (level,) = levels
        segmentation = self.loss(level.logits, level.target)
        (scores,) = self.judgements(levels)
        deceived = self.adversarial_loss(scores, target_is_real=True, for_discriminator=False)
        total = self.segmentation_weight * segmentation + deceived
        return total, {"train/segmentation_loss": segmentation, "train/adv_0": deceived}

    def discriminator_losses(self, levels: list[Level]) -> dict[str, Tensor]:
        """L_D."""
        (level,) = levels
        (fake,) = self.judgements(levels)
        real = self.judge(level.image, level.target)
        losses = [
            self.adversarial_loss(scores, target_is_real=is_real, for_discriminator=True)
            for scores, is_real in ((fake, False), (real, True))
        ]
        return {"train/discriminator_0": torch.stack(losses).mean()}

    def judge(self, image: Tensor, mask: Tensor) -> Tensor:
        """Scores of the discriminator: 1 where it takes a mask for a reference, 0 where for a prediction.

        Args:
            image: `(B, C, D, H, W)`.
            mask: `(B, K, D, H, W)`, a reference or a prediction, 0 to 1.

        Returns:
            `(B, 1, d, h, w)`, one for every patch that it sees, any real number, float32.

        Raises:
            InputError: the image is too small for it.
        """
        refuse_small_images(self.discriminators, image.shape[2:])
        scores: Tensor = self.discriminators(torch.cat([image, mask.to(image.dtype)], dim=1))[-1]
        return scores.float()


def refuse_small_images(discriminator: nn.Module, size: Sequence[int]) -> None:
    """Makes sure that something is left of an image after all convolutions of a discriminator.

    Args:
        discriminator: convolutions one after another.
        size: (D, H, W) voxels.

    Raises:
        InputError: nothing is left.
    """
    left = list(size)
    for conv in (module for module in discriminator.modules() if isinstance(module, _ConvNd)):
        settings = zip(left, conv.kernel_size, conv.stride, cast(tuple[int, ...], conv.padding), strict=True)
        left = [(side + 2 * padding - kernel) // stride + 1 for side, kernel, stride, padding in settings]
        if min(left) < 1:
            raise InputError(
                f"Patches of {tuple(size)} voxels are too small for the discriminator's convolutions: enlarge "
                "model.roi_size, or lower model.discriminator_layers."
            )
