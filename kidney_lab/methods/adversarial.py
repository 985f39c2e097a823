"""Adversarial training of a segmentation network against discriminators of its decoder levels, as in MSALDS.

Zheng et al., "Multi-scale adversarial learning and difficult supervision for kidney and kidney tumor segmentation
methods", BMVC 2022, section 2 and Eqs. 1 to 5. Their networks are binary. Of several regions, a level's discriminator
sees all masks beside the image and gives one confidence per pixel, as in the code that was published with Nie et al.,
"Difficulty-aware attention network with confidence learning for medical image segmentation", AAAI 2019,
doi:10.1609/aaai.v33i01.33011085.

What the paper leaves open, and what was chosen:
- The levels' losses are averaged; each discriminator has its own Eq. 5.
- "Lowest validation loss": the value of L_seg cannot be compared between epochs, because the discriminators change.
  `val_patch/loss` is Dice + plain cross-entropy.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from kidney_lab.errors import InputError
from kidney_lab.losses.difficulty import DifficultyLoss, SegmentationTerms
from kidney_lab.methods.alternating import AlternatingSegmentation
from kidney_lab.methods.discriminators import Discriminators, Level, at_scale, supervised_levels
from kidney_lab.methods.output import Output
from kidney_lab.methods.supervised import Batch


class AdversarialSegmentation(AlternatingSegmentation):
    """Trains a segmentation network and a discriminator for each of its decoder levels in turn.

    Logged besides what `SupervisedSegmentation` logs, per decoder level (0 is the finest): `train/dice_<level>`,
    `train/ce_<level>`, and where the level has a discriminator `train/adv_<level>`, `train/discriminator_<level>` and,
    with difficulty, `train/lambda_<level>`, the mean weight of a pixel, which tells how far the discriminator is
    deceived.

    Args:
        network: `(B, C, [D,] H, W)` image to `(B, K, [D,] H, W)` logits, in training also a list of these, one for each
            of its `heads`, finest first.
        loss: of one decoder level.
        optimizer: of the segmentation network; partial, lacks the parameters.
        scheduler: partial, lacks the optimizer; one for either optimizer, stepped once an epoch.
        output: meaning of the network's channels; regions, since the loss takes each for a binary problem.
        discriminators: partial, lacks `levels`.
        discriminator_optimizer: partial, lacks the parameters.
        gradient_clip_val: see `AlternatingSegmentation`, as the next two.
        gradient_clip_algorithm: of the gradients.
        accumulate_grad_batches: see `AlternatingSegmentation`.

    Raises:
        InputError: the loss is another one, weighs difficulty where there is no discriminator, or a setting is out of
            range.
    """

    discriminators: Discriminators

    def __init__(
        self,
        *,
        network: nn.Module,
        loss: nn.Module,
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., LRScheduler],
        output: Output,
        discriminators: Callable[..., Discriminators],
        discriminator_optimizer: Callable[..., Optimizer],
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = "norm",
        accumulate_grad_batches: int = 1,
    ) -> None:
        super().__init__(
            network=network,
            loss=loss,
            optimizer=optimizer,
            scheduler=scheduler,
            output=output,
            discriminators=discriminators(levels=supervised_levels(network)),
            discriminator_optimizer=discriminator_optimizer,
            gradient_clip_val=gradient_clip_val,
            gradient_clip_algorithm=gradient_clip_algorithm,
            accumulate_grad_batches=accumulate_grad_batches,
        )
        if self.loss.difficulty and not self.has_discriminators:
            raise InputError(
                "loss.difficulty=true weighs pixels by a discriminator's confidence, and with model.adversarial=none "
                "there is none: choose loss.difficulty=false, or model.adversarial=last or multi_scale."
            )

    def check_loss(self, loss: nn.Module) -> None:
        """Makes sure that the loss is one of decoder levels.

        Raises:
            InputError: it is another one.
        """
        if not isinstance(loss, DifficultyLoss):
            raise InputError(
                f"{type(loss).__name__} is no loss of an adversarial training: choose loss=difficulty, where "
                "loss.difficulty=false gives Dice and cross-entropy without weights."
            )

    def levels(self, batch: Batch) -> list[Level]:
        """Image, logits and target of every level that the network supervises, at the discriminators' scale."""
        given = self(batch["image"])
        logits = [level.float() for level in ([given] if isinstance(given, Tensor) else given)]
        return at_scale(batch["image"], logits, self.output.target(batch["label"]), self.discriminators.scale)

    def judgements(self, levels: list[Level]) -> list[Tensor]:
        """Logits of M of every level that has a discriminator."""
        return [
            self.discriminators(number, level.image, self.output.probabilities(level.logits))
            for number, level in enumerate(levels[: len(self.discriminators)])
        ]

    def segmentation_loss(self, levels: list[Level]) -> tuple[Tensor, dict[str, Tensor]]:
        """L_seg, averaged over levels, and its terms of every level."""
        judged: list[Tensor | None] = [*self.judgements(levels)]
        judged += [None] * (len(levels) - len(judged))
        terms: list[SegmentationTerms] = [
            self.loss(level.logits, level.target, confidence) for level, confidence in zip(levels, judged, strict=True)
        ]
        return torch.stack([term.total for term in terms]).mean(), self._named(terms)

    def discriminator_losses(self, levels: list[Level]) -> dict[str, Tensor]:
        """L_D of every level that has a discriminator."""
        losses: dict[str, Tensor] = {}
        for number, fake in enumerate(self.judgements(levels)):
            real = self.discriminators(number, levels[number].image, levels[number].target)
            losses[f"train/discriminator_{number}"] = self.discriminators.loss(fake, real)
        return losses

    def confidence(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Judges the finest prediction.

        Args:
            image: `(B, C, [D,] H, W)`, scaled as for training.

        Returns:
            The prediction `(B, K, [D,] H, W)` and M of Eq. 2 `(B, 1, [D,] H, W)`, 0 to 1, float32.

        Raises:
            InputError: there is no discriminator.
        """
        if not self.has_discriminators:
            raise InputError("model.adversarial=none has no confidence: choose model.adversarial=last or multi_scale.")
        with torch.no_grad():
            levels = self(image)
            probs = self.output.probabilities(levels if isinstance(levels, Tensor) else levels[0])
            return probs, self.discriminators(0, image, probs).sigmoid()

    def _loss(self, batch: Batch) -> Tensor:
        """Dice + plain cross-entropy, averaged over levels."""
        terms = [self.loss(level.logits, level.target).total for level in self.levels(batch)]
        return torch.stack(terms).mean()

    def _named(self, terms: list[SegmentationTerms]) -> dict[str, Tensor]:
        """What the terms are called in the log."""
        values: dict[str, Tensor] = {}
        for number, term in enumerate(terms):
            values |= {f"train/dice_{number}": term.dice, f"train/ce_{number}": term.cross_entropy}
            if number < len(self.discriminators):
                values[f"train/adv_{number}"] = term.adversarial
                if self.loss.difficulty:
                    values[f"train/lambda_{number}"] = term.weight
        return values
