"""Adversarial training of a segmentation network against discriminators of its decoder levels, as in MSALDS.

Zheng et al., "Multi-scale adversarial learning and difficult supervision for kidney and kidney tumor segmentation
methods", BMVC 2022, section 2 and Eqs. 1 to 5. Their networks are binary. Of several regions, a level's discriminator
sees all masks beside the image and gives one confidence per pixel, as in the code that was published with Nie et al.,
"Difficulty-aware attention network with confidence learning for medical image segmentation", AAAI 2019,
doi:10.1609/aaai.v33i01.33011085.

What the paper leaves open, and what was chosen:
- The levels' losses are averaged; each discriminator has its own Eq. 5.
- Segmentation network and discriminators take turns, a step each. The discriminators learn from the predictions that
  the segmentation network has just been corrected for, so that no second forward pass is needed.
- "Lowest validation loss": the value of L_seg cannot be compared between epochs, because the discriminators change.
  `val_patch/loss` is Dice + plain cross-entropy.
"""

from collections.abc import Callable
from typing import Any, Final, cast

import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from kidney_lab.errors import InputError
from kidney_lab.losses.difficulty import DifficultyLoss, SegmentationTerms
from kidney_lab.methods.discriminators import Discriminators, Level, at_scale, supervised_levels
from kidney_lab.methods.output import Output
from kidney_lab.methods.supervised import Batch, SupervisedSegmentation

WAITING_STRATEGY: Final = (
    "trainer.strategy=ddp expects gradients of all weights in every backward pass, but discriminators and segmentation "
    "network take turns: choose trainer=ddp with trainer.strategy=ddp_find_unused_parameters_true."
)


class AdversarialSegmentation(SupervisedSegmentation):
    """Trains a segmentation network and its discriminators in turn; validates and predicts as its parent.

    Logged besides what the parent logs, per decoder level (0 is the finest): `train/dice_<level>`, `train/ce_<level>`,
    and where the level has a discriminator `train/adv_<level>`, `train/discriminator_<level>` and, with difficulty,
    `train/lambda_<level>`, the mean weight of a pixel, which tells how far the discriminator is deceived.

    Optimisation is manual, which Lightning asks for with two optimizers. It then refuses `gradient_clip_val` and
    `accumulate_grad_batches` of the trainer: they are settings of this module, to be taken from the trainer's in the
    config while the stage's own `trainer` sets these to null and 1. Steps are counted for the segmentation network
    alone, in `trainer.global_step` and whatever is written from it. On several GPUs both networks in one module need
    `trainer.strategy=ddp_find_unused_parameters_true`, because every backward pass reaches only one of them.

    Args:
        network: `(B, C, [D,] H, W)` image to `(B, K, [D,] H, W)` logits, in training also a list of these, one for each
            of its `heads`, finest first.
        loss: of one decoder level.
        optimizer: of the segmentation network; partial, lacks the parameters.
        scheduler: partial, lacks the optimizer; one for either optimizer, stepped once an epoch.
        output: meaning of the network's channels; regions, since the loss takes each for a binary problem.
        discriminators: partial, lacks `levels`.
        discriminator_optimizer: partial, lacks the parameters.
        gradient_clip_val: largest norm of the gradients of either optimizer; None: any.
        accumulate_grad_batches: batches whose gradients make up a step; fewer at the end of an epoch.

    Raises:
        InputError: the loss is another one, weighs difficulty where there is no discriminator, or a setting is out of
            range.
    """

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
        accumulate_grad_batches: int = 1,
    ) -> None:
        super().__init__(network=network, loss=loss, optimizer=optimizer, scheduler=scheduler, output=output)
        if accumulate_grad_batches < 1:
            raise InputError(
                f"trainer.accumulate_grad_batches={accumulate_grad_batches} is no number: choose 1 or more."
            )
        self.automatic_optimization = False
        self.discriminators = discriminators(levels=supervised_levels(network))
        self.discriminator_optimizer = discriminator_optimizer
        self.gradient_clip_val = gradient_clip_val
        self.accumulate_grad_batches = accumulate_grad_batches
        self._shown: list[list[Level]] = []  # what the discriminators will learn from in their next step
        if self.loss.difficulty and not self.discriminators:
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

    def on_train_start(self) -> None:
        """Makes sure that the processes of a training on several devices do not wait for each other's gradients.

        Raises:
            InputError: the strategy expects gradients of both networks in each backward pass.
        """
        model = self.trainer.model
        if isinstance(model, DistributedDataParallel) and self.discriminators and not model.find_unused_parameters:
            raise InputError(WAITING_STRATEGY)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Trains the segmentation network on a batch of patches, then the discriminators on what it has predicted."""
        size = len(batch["image"])
        self._log_steps()
        is_step = (batch_idx + 1) % self.accumulate_grad_batches == 0 or self.trainer.is_last_batch
        optimizer, *others = self._optimizers()
        with self.toggled_optimizer(optimizer):  # the discriminators judge, and learn nothing from it
            levels = self._levels(batch)
            terms = [self._terms(number, level) for number, level in enumerate(levels)]
            loss = torch.stack([term.total for term in terms]).mean()
            self.manual_backward(loss / self.accumulate_grad_batches)
            if is_step:
                optimizer.step()
                optimizer.zero_grad()
        loss = loss.detach()
        self._log_loss(loss, size)
        self._log_terms(terms, size)
        for discriminator_optimizer in others:
            self._shown.append([level._replace(logits=level.logits.detach()) for level in levels])
            if is_step:
                shown, self._shown = self._shown, []
                self._train_discriminators(discriminator_optimizer.optimizer, shown)
        return loss

    def _train_discriminators(self, optimizer: Optimizer, batches: list[list[Level]]) -> None:
        """One step on the batches that the segmentation network has just made one step on.

        All backward passes come after that step, which may change the scale of half-precision gradients.
        """
        for levels in batches:
            pairs = list(enumerate(levels[: len(self.discriminators)]))
            losses = [self._discriminator_loss(number, level) for number, level in pairs]
            self.manual_backward(torch.stack(losses).sum() / self.accumulate_grad_batches)
            values = {f"train/discriminator_{number}": loss.detach() for number, loss in enumerate(losses)}
            self.log_dict(values, on_step=False, on_epoch=True, batch_size=len(levels[0].image))
        # Not by the optimizer's wrapper: that would count as another step of the training.
        self.trainer.strategy.optimizer_step(optimizer, lambda: None)
        optimizer.zero_grad()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clips gradients, here because they are unscaled from half precision only now."""
        self.clip_gradients(optimizer, gradient_clip_val=self.gradient_clip_val, gradient_clip_algorithm="norm")

    def confidence(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Judges the finest prediction.

        Args:
            image: `(B, C, [D,] H, W)`, scaled as for training.

        Returns:
            The prediction `(B, K, [D,] H, W)` and M of Eq. 2 `(B, 1, [D,] H, W)`, 0 to 1, float32.

        Raises:
            InputError: there is no discriminator.
        """
        if not self.discriminators:
            raise InputError("model.adversarial=none has no confidence: choose model.adversarial=last or multi_scale.")
        with torch.no_grad():
            levels = self(image)
            probs = self.output.probabilities(levels if isinstance(levels, Tensor) else levels[0])
            return probs, self.discriminators(0, image, probs).sigmoid()

    def configure_optimizers(self) -> Any:
        """Optimizer and scheduler of the segmentation network, and those of the discriminators where there are any."""
        made = [self._optimization(self.optimizer, self.network, "lr")]
        if self.discriminators:
            made.append(self._optimization(self.discriminator_optimizer, self.discriminators, "lr_discriminator"))
        return made

    def on_train_epoch_end(self) -> None:
        """Steps the schedulers, as the parent."""
        super().on_train_epoch_end()
        self._log_steps()

    def on_validation_epoch_end(self) -> None:
        """Logs the mean over all ranks' cases, as the parent."""
        super().on_validation_epoch_end()
        self._log_steps()

    def _loss(self, batch: Batch) -> Tensor:
        """Dice + plain cross-entropy, averaged over levels."""
        terms = [self.loss(level.logits, level.target).total for level in self._levels(batch)]
        return torch.stack(terms).mean()

    def _levels(self, batch: Batch) -> list[Level]:
        given = self(batch["image"])
        logits = [level.float() for level in ([given] if isinstance(given, Tensor) else given)]
        return at_scale(batch["image"], logits, self.output.target(batch["label"]), self.discriminators.scale)

    def _terms(self, number: int, level: Level) -> SegmentationTerms:
        judged = None
        if number < len(self.discriminators):
            judged = self.discriminators(number, level.image, self.output.probabilities(level.logits))
        return cast(SegmentationTerms, self.loss(level.logits, level.target, judged))

    def _discriminator_loss(self, number: int, level: Level) -> Tensor:
        fake = self.discriminators(number, level.image, self.output.probabilities(level.logits))
        real = self.discriminators(number, level.image, level.target)
        return cast(Tensor, self.discriminators.loss(fake, real))

    def _optimizers(self) -> list[LightningOptimizer]:
        optimizers = self.optimizers()
        return cast(list[LightningOptimizer], optimizers if isinstance(optimizers, list) else [optimizers])

    def _log_terms(self, terms: list[SegmentationTerms], size: int) -> None:
        values: dict[str, Tensor] = {}
        for number, term in enumerate(terms):
            values |= {f"train/dice_{number}": term.dice, f"train/ce_{number}": term.cross_entropy}
            if number < len(self.discriminators):
                values[f"train/adv_{number}"] = term.adversarial
                if self.loss.difficulty:
                    values[f"train/lambda_{number}"] = term.weight
        values = {name: value.detach() for name, value in values.items()}
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=size)

    def _log_steps(self) -> None:
        """Tells the logger the number of steps, which Lightning takes for that of batches under manual optimisation."""
        if self.accumulate_grad_batches > 1:
            self.log("step", float(self.trainer.global_step), batch_size=1)
