"""Supervised training of one segmentation network: the LightningModule that most stages are."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torchmetrics import MeanMetric

from kidney_lab.errors import InputError
from kidney_lab.losses.detection import DetectionLoss
from kidney_lab.losses.difficulty import DifficultyLoss
from kidney_lab.methods.mirroring import mirrored
from kidney_lab.methods.output import Output
from kidney_lab.methods.prediction import Prediction
from kidney_lab.methods.validation import CaseScores

Batch = dict[str, Any]
Inferer = Callable[[Tensor, Callable[[Tensor], Tensor]], Tensor]
SliceMaps = Callable[[NDArray[np.int16], int, Callable[[Tensor], Tensor]], Tensor]

_KEPT = 0.93  # of the smoothed loss from one epoch to the next


class SupervisedSegmentation(pl.LightningModule):
    """Trains a network on patches and validates it on whole cases.

    Logged: `train/loss`; `val_patch/loss` on fixed patches; `val_case/<region>_dice` and their mean
    `val_case/mean_dice`, on whole cases of the stage's grid, averaged over cases that hold the region. Where asked for:
    `train/accuracy` and `val_patch/accuracy`, see `pixel_accuracy`, and beside each what an empty prediction reaches on
    the same pixels, `train/background_accuracy` and `val_patch/background_accuracy`.

    Args:
        network: `(B, C, D, H, W)` image to `(B, K, D, H, W)` logits.
        loss: MONAI loss of input and target.
        optimizer: partial, lacks the parameters.
        scheduler: partial, lacks the optimizer; stepped once an epoch.
        output: meaning of the network's channels.
        pixel_accuracy: log it; it says little where most of an image is background.

    Raises:
        InputError: the loss needs discriminators.
    """

    def __init__(
        self,
        *,
        network: nn.Module,
        loss: nn.Module,
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., LRScheduler],
        output: Output,
        pixel_accuracy: bool = False,
    ) -> None:
        super().__init__()
        self.check_loss(loss)
        self.network = network
        self.loss = loss
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.output = output
        self.pixel_accuracy = pixel_accuracy
        self.inferer: Inferer | None = None  # set by the stage, as the next
        self.predict_case: Callable[[Tensor, Tensor | None], Prediction] | None = None
        self.slice_maps: SliceMaps | None = None
        self.train_loss = MeanMetric()
        self.smoothed_loss: float | None = None
        self.case_scores = CaseScores(output.regions)

    def check_loss(self, loss: nn.Module) -> None:
        """Makes sure that the training can use a loss.

        Raises:
            InputError: it cannot.
        """
        if any(isinstance(part, DifficultyLoss) for part in loss.modules()):
            raise InputError(
                "loss=difficulty weighs pixels by a discriminator's confidence, and this stage has no discriminator: "
                "choose loss=dice_ce, or model=msalds."
            )
        if any(isinstance(part, DetectionLoss) for part in loss.modules()):
            raise InputError(
                "loss=mask_rcnn adds up what a detector loses by boxes, and this stage has none: choose loss=dice_ce, "
                "or model=ernet."
            )

    def load_pretrained(self) -> None:
        """Loads the weights that a training from the beginning starts from; a module that knows of any overrides it."""

    def load_contained(self, state: Mapping[str, Tensor]) -> None:
        """Takes in the trained module of another stage; a module that contains one overrides it.

        Args:
            state: of the other stage's module.

        Raises:
            InputError: there is no place for it.
        """
        raise InputError(f"{type(self).__name__} contains no other stage: leave model.stages.*.contains out.")

    def record(self) -> dict[str, Any]:
        """What `run.json` says of the trained module beside its cost; nothing, unless a module overrides it."""
        return {}

    def forward(self, image: Tensor) -> Any:
        """Logits `(B, K, D, H, W)` of images `(B, C, D, H, W)`, or those of every level where training supervises them.

        Several levels come as a list, the finest first, each of its own size; a contour head's logits as the second of
        two (`SegmentationAndContour`). Their loss takes all of them.
        """
        return self.network(image)

    def _loss(self, batch: Batch) -> Tensor:
        logits = self(batch["image"])
        logits = logits.float() if isinstance(logits, Tensor) else [head.float() for head in logits]
        if self.pixel_accuracy:
            self._log_accuracy(logits if isinstance(logits, Tensor) else logits[0], batch["label"])
        value: Tensor = self.loss(logits, self.output.target(batch["label"]))
        return value

    def _log_accuracy(self, logits: Tensor, label: Tensor) -> None:
        part = "train" if self.training else "val_patch"
        self.log_dict(
            {
                f"{part}/accuracy": pixel_accuracy(self.output, logits.detach(), label),
                f"{part}/background_accuracy": background_accuracy(self.output, label),
            },
            on_step=False,
            on_epoch=True,
            batch_size=len(label),
            sync_dist=True,
            add_dataloader_idx=False,
        )

    def on_train_epoch_start(self) -> None:
        """Logs the learning rate of the epoch."""
        self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """Loss of one batch of patches."""
        loss = self._loss(batch)
        self.log_loss(loss.detach(), len(batch["image"]))
        return loss

    def log_loss(self, loss: Tensor, size: int) -> None:
        """Logs the loss of a training step, also for schedulers that watch it; every `training_step` calls it once.

        Args:
            loss: scalar, without gradient.
            size: number of patches in the batch.
        """
        self.train_loss.update(loss, size)
        self.log("train/loss", loss, on_step=True, on_epoch=True, batch_size=size)
        self.log("loss", loss, prog_bar=True, logger=False, batch_size=size)  # a short name for the progress bar

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int) -> Tensor | None:
        """Loss of a batch of patches (loader 0), or Dice of a whole case (loader 1).

        Returns:
            Loader 1: the predicted label map `(D, H, W)`, for whoever wants to show it.
        """
        if dataloader_idx == 0:
            size = len(batch["image"])
            self.log("val_patch/loss", self._loss(batch), batch_size=size, sync_dist=True, add_dataloader_idx=False)
            return None
        if self.predict_case is None:
            raise RuntimeError("only the module of a stage can predict whole cases")
        predicted = self.predict_case(batch["image"], batch.get("prior")).labels(self.output.decide)
        self.case_scores.add(batch["case"], predicted, batch["label"][0])
        return predicted

    def on_validation_epoch_end(self) -> None:
        """Logs the mean over all ranks' cases."""
        for name, value in self.case_scores.gather().items():
            self.log(f"val_case/{name}", value)
            if name == "mean_dice":
                self.log("dice", value, prog_bar=True, logger=False)

    def infer(self, image: Tensor, mirror_axes: Sequence[int] = ()) -> Tensor:
        """Probabilities of whole images, by the stage's inferer.

        Args:
            image: `(B, C, D, H, W)`, scaled as for training.
            mirror_axes: axes that the image is mirrored along as well, see `mirrored`.

        Returns:
            `(B, K, D, H, W)`, 0 to 1, float32.
        """
        look = mirrored(self.scores, mirror_axes)
        with torch.no_grad():
            return self.probabilities(look(image) if self.inferer is None else self.inferer(image, look))

    def scores(self, image: Tensor) -> Tensor:
        """What overlapping windows are averaged in: logits `(B, K, D, H, W)`.

        They are float32 before they are summed: bfloat16 sums would lose the small ones.
        """
        logits: Tensor = self(image)
        return logits.float()

    def probabilities(self, scores: Tensor) -> Tensor:
        """Probabilities of averaged scores, same shape, 0 to 1; in 3D a new tensor: the scores are overwritten."""
        return self.output.probabilities(scores)

    def configure_optimizers(self) -> Any:
        """Optimizer and scheduler of the config."""
        return self._optimization(self.optimizer, self, "lr")

    def _optimization(self, make: Callable[..., Optimizer], trained: nn.Module, name: str) -> dict[str, Any]:
        """An optimizer of a module's weights with its scheduler, as Lightning takes them."""
        return self._scheduled(make(trained.parameters()), name)

    def _scheduled(self, optimizer: Optimizer, name: str) -> dict[str, Any]:
        """An optimizer with its scheduler, as Lightning takes them."""
        # "monitor" only satisfies Lightning, which asks for one with ReduceLROnPlateau: it never steps a scheduler.
        scheduler = {"scheduler": self.scheduler(optimizer), "name": name, "monitor": "train/loss"}
        return {"optimizer": optimizer, "lr_scheduler": scheduler}

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Does nothing: `on_train_epoch_end` has stepped already.

        Lightning steps only after the epoch's checkpoint is written, so that a resumed training would be one step of
        the learning rate behind.
        """

    def on_train_epoch_end(self) -> None:
        """Steps every scheduler, before the checkpoint of this epoch is written.

        A scheduler that waits for a plateau watches the training loss, smoothed over epochs as nnU-Net's first trainer
        does (Isensee et al. 2021): 0.93 of what it was and 0.07 of the epoch's mean over all ranks.
        """
        loss = float(self.train_loss.compute())
        self.train_loss.reset()
        self.smoothed_loss = loss if self.smoothed_loss is None else _KEPT * self.smoothed_loss + (1 - _KEPT) * loss
        schedulers = self.lr_schedulers()
        for scheduler in schedulers if isinstance(schedulers, list) else [schedulers]:
            if isinstance(scheduler, ReduceLROnPlateau):
                scheduler.step(self.smoothed_loss)
            elif isinstance(scheduler, LRScheduler):
                scheduler.step()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the smoothed loss with the weights, so that a resumed training goes on with it."""
        checkpoint["smoothed_loss"] = self.smoothed_loss

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the smoothed loss up again."""
        self.smoothed_loss = checkpoint.get("smoothed_loss")


def pixel_accuracy(output: Output, logits: Tensor, label: Tensor) -> Tensor:
    """Share of pixels that are decided right, the background among them.

    Args:
        output: meaning of the channels.
        logits: `(B, K, D, H, W)` or `(B, K, H, W)`.
        label: `(B, 1, D, H, W)` or `(B, 1, H, W)`, label values.

    Returns:
        A number from 0 to 1.
    """
    return (_decided(output, output.probabilities(logits)) == _decided(output, output.target(label))).float().mean()


def background_accuracy(output: Output, label: Tensor) -> Tensor:
    """The `pixel_accuracy` of a prediction that finds nothing: the share of pixels that the output calls background.

    Args:
        output: meaning of the channels.
        label: `(B, 1, D, H, W)` or `(B, 1, H, W)`, label values.

    Returns:
        A number from 0 to 1.
    """
    return (_decided(output, output.target(label)) == 0).float().mean()


def _decided(output: Output, channels: Tensor) -> Tensor:
    """Labels `(B, ...)` of channels `(B, C, ...)`."""
    return output.decide(channels.transpose(0, 1))
