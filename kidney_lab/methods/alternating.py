"""Training of a segmentation network and discriminators that take turns: what adversarial methods have in common.

A method says what a batch is supervised with, what the segmentation network loses, and what the discriminators lose.
The steps themselves are here: one each, the discriminators' on the predictions that the segmentation network has just
been corrected for, so that no second forward pass is needed.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final, cast

import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from kidney_lab.errors import InputError
from kidney_lab.methods.discriminators import Level
from kidney_lab.methods.output import Output
from kidney_lab.methods.supervised import Batch, SupervisedSegmentation

WAITING_STRATEGY: Final = (
    "trainer.strategy=ddp expects gradients of all weights in every backward pass, but discriminators and segmentation "
    "network take turns: choose trainer.strategy=ddp_find_unused_parameters_true."
)


class AlternatingSegmentation(SupervisedSegmentation, ABC):
    """Trains a segmentation network and its discriminators in turn; validates and predicts as its parent.

    Optimisation is manual, which Lightning asks for with two optimizers. It then refuses `gradient_clip_val`,
    `gradient_clip_algorithm` and `accumulate_grad_batches` of the trainer: they are settings of this module, to be
    taken from the trainer's in the config while the stage's own `trainer` sets these to null, null and 1. Steps are
    counted for the segmentation network alone, in `trainer.global_step` and whatever is written from it. On several
    GPUs both networks in one module need `trainer.strategy=ddp_find_unused_parameters_true`, because every backward
    pass reaches only one of them; the config makes that of `ddp` (`${taking_turns:...}`).

    Args:
        network: the segmentation network.
        loss: of the segmentation.
        optimizer: of the segmentation network; partial, lacks the parameters.
        scheduler: partial, lacks the optimizer; one for either optimizer, stepped once an epoch.
        output: meaning of the network's channels.
        discriminators: all of them; without weights where the segmentation network trains alone.
        discriminator_optimizer: partial, lacks the parameters.
        gradient_clip_val: largest norm, or value, of the gradients of either optimizer; None: any.
        gradient_clip_algorithm: Lightning's `norm` or `value`.
        accumulate_grad_batches: batches whose gradients make up a step; fewer at the end of an epoch.

    Raises:
        InputError: the loss is no loss of this training, or a setting is out of range.
    """

    def __init__(
        self,
        *,
        network: nn.Module,
        loss: nn.Module,
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., LRScheduler],
        output: Output,
        discriminators: nn.Module,
        discriminator_optimizer: Callable[..., Optimizer],
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = "norm",
        accumulate_grad_batches: int = 1,
    ) -> None:
        super().__init__(network=network, loss=loss, optimizer=optimizer, scheduler=scheduler, output=output)
        if accumulate_grad_batches < 1:
            raise InputError(
                f"trainer.accumulate_grad_batches={accumulate_grad_batches} is no number: choose 1 or more."
            )
        self.automatic_optimization = False
        self.discriminators = discriminators
        self.discriminator_optimizer = discriminator_optimizer
        self.gradient_clip_val = gradient_clip_val
        self.gradient_clip_algorithm = gradient_clip_algorithm
        self.accumulate_grad_batches = accumulate_grad_batches
        self._shown: list[list[Level]] = []  # what the discriminators will learn from in their next step

    @property
    def has_discriminators(self) -> bool:
        """Whether there is anything for the segmentation network to take turns with."""
        return next(self.discriminators.parameters(), None) is not None

    @abstractmethod
    def levels(self, batch: Batch) -> list[Level]:
        """What a batch of patches is supervised with, finest first: a forward pass of the segmentation network."""

    @abstractmethod
    def judgements(self, levels: list[Level]) -> list[Tensor]:
        """What the discriminators say of the predictions, for each level that has one.

        Args:
            levels: of a batch.
        """

    @abstractmethod
    def segmentation_loss(self, levels: list[Level]) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of the segmentation network.

        Args:
            levels: of a batch.

        Returns:
            The scalar to go backward from, and what it consists of, by name in the log.
        """

    @abstractmethod
    def discriminator_losses(self, levels: list[Level]) -> dict[str, Tensor]:
        """Losses of the discriminators, whose sum is to go backward from.

        Args:
            levels: of a batch, their logits without gradient.

        Returns:
            Scalars by name in the log.
        """

    def on_train_start(self) -> None:
        """Makes sure that the processes of a training on several devices do not wait for each other's gradients.

        Raises:
            InputError: the strategy expects gradients of both networks in each backward pass.
        """
        model = self.trainer.model
        if isinstance(model, DistributedDataParallel) and self.has_discriminators and not model.find_unused_parameters:
            raise InputError(WAITING_STRATEGY)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Trains the segmentation network on a batch of patches, then the discriminators on what it has predicted."""
        size = len(batch["image"])
        self._log_steps()
        is_step = (batch_idx + 1) % self.accumulate_grad_batches == 0 or self.trainer.is_last_batch
        optimizer, *others = self._optimizers()
        with self.toggled_optimizer(optimizer):  # the discriminators judge, and learn nothing from it
            levels = self.levels(batch)
            loss, terms = self.segmentation_loss(levels)
            self.manual_backward(loss / self.accumulate_grad_batches)
            if is_step:
                optimizer.step()
                optimizer.zero_grad()
        loss = loss.detach()
        self.log_loss(loss, size)
        self._log_means(terms, size)
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
            losses = self.discriminator_losses(levels)
            self.manual_backward(torch.stack(list(losses.values())).sum() / self.accumulate_grad_batches)
            self._log_means(losses, len(levels[0].image))
        # Not by the optimizer's wrapper: that would count as another step of the training.
        self.trainer.strategy.optimizer_step(optimizer, lambda: None)
        optimizer.zero_grad()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clips gradients, here because they are unscaled from half precision only now."""
        self.clip_gradients(
            optimizer,
            gradient_clip_val=self.gradient_clip_val,
            gradient_clip_algorithm=self.gradient_clip_algorithm,
        )

    def configure_optimizers(self) -> Any:
        """Optimizer and scheduler of the segmentation network, and those of the discriminators where there are any."""
        made = [self._optimization(self.optimizer, self.network, "lr")]
        if self.has_discriminators:
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

    def _optimizers(self) -> list[LightningOptimizer]:
        optimizers = self.optimizers()
        return cast(list[LightningOptimizer], optimizers if isinstance(optimizers, list) else [optimizers])

    def _log_means(self, values: dict[str, Tensor], size: int) -> None:
        values = {name: value.detach() for name, value in values.items()}
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=size)

    def _log_steps(self) -> None:
        """Tells the logger the number of steps, which Lightning takes for that of batches under manual optimisation."""
        if self.accumulate_grad_batches > 1:
            self.log("step", float(self.trainer.global_step), batch_size=1)
