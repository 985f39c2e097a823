"""Transfer learning in two phases: the new layers alone on a frozen encoder, then the whole network.

Nagarajan and Ramprasath, IJETT 72(9), 2024: Eqs. 6 and 7 update the new layers' W and b alone, section 4 fine-tunes the
models. Both are there (`finetune`). Chosen, since the paper is silent:

- In the first phase nothing of the encoder changes, neither weights nor the statistics of its batch normalizations,
  which normalize by them, as in prediction. In the second its weights learn at a rate of their own; whether its
  statistics follow the slices (`batch_norm="train"`) or stay those of the photographs (`"frozen"`, for small batches)
  is a setting. Scales and shifts count as weights.
- Both phases share one optimizer with two groups of weights, so that any scheduler moves both rates by the same factor,
  and a resumed training goes on as if nothing had been.
- Images come scaled to [0, 1] and are normalized here, by the statistics that the encoder's weights were trained with.
"""

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from kidney_lab.errors import InputError
from kidney_lab.methods.output import Output
from kidney_lab.methods.supervised import SupervisedSegmentation
from kidney_lab.networks.encoder_weights import input_statistics, load_encoder
from kidney_lab.numbers import is_number, is_whole

Finetune = Literal["all", "head"]
BatchNorm = Literal["train", "frozen"]


class FinetunedSegmentation(SupervisedSegmentation):
    """Trains a network whose `encoder` may come with weights.

    Logged besides what the parent logs: `train/encoder_lr`, the encoder's learning rate; 0 while it is frozen. `lr` is
    that of the other layers.

    Args:
        network: of slices `(B, C, H, W)`, with a module `encoder`.
        encoder: its name, see `kidney_lab.networks.encoders`.
        loss: MONAI loss of input and target.
        optimizer: partial, lacks the parameters; its rate is that of all but the encoder.
        scheduler: partial, lacks the optimizer; stepped once an epoch.
        output: meaning of the network's channels.
        encoder_lr: learning rate of the encoder.
        weights: that a training starts from: `none`, `imagenet`, or a file, see `kidney_lab.networks.encoder_weights`.
        finetune: what is trained after the first phase: `all`, or the `head` (everything but the encoder) to the end.
        freeze_epochs: of the first phase.
        batch_norm: statistics of the encoder's batch normalizations in the second phase: `train`, `frozen`.
        pixel_accuracy: log it.

    Raises:
        InputError: a setting is out of range.
    """

    def __init__(
        self,
        *,
        network: nn.Module,
        encoder: str,
        loss: nn.Module,
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., LRScheduler],
        output: Output,
        encoder_lr: float,
        weights: str = "none",
        finetune: Finetune = "all",
        freeze_epochs: int = 0,
        batch_norm: BatchNorm = "train",
        pixel_accuracy: bool = False,
    ) -> None:
        super().__init__(
            network=network,
            loss=loss,
            optimizer=optimizer,
            scheduler=scheduler,
            output=output,
            pixel_accuracy=pixel_accuracy,
        )
        if not isinstance(encoder, str):
            raise InputError(f"model.encoder={encoder} is no name of an encoder: give one, such as resnet50.")
        _check_phases(finetune, freeze_epochs, batch_norm, encoder_lr)
        self.encoder = encoder
        self.encoder_lr = encoder_lr
        self.weights = weights
        self.finetune = finetune
        self.freeze_epochs = freeze_epochs
        self.batch_norm = batch_norm
        for name, values in zip(("mean", "std"), input_statistics(encoder), strict=True):
            # Not persistent: a checkpoint holds the network's weights and nothing else.
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1), persistent=False)

    @property
    def encoder_is_frozen(self) -> bool:
        """Whether the encoder stays as it is in the current epoch."""
        return self.finetune == "head" or self.current_epoch < self.freeze_epochs

    def load_pretrained(self) -> None:
        """Loads the weights that the encoder starts from.

        Raises:
            InputError: the file is missing, unreadable, or of another encoder.
        """
        load_encoder(self.network.get_submodule("encoder"), self.encoder, self.weights)

    def forward(self, image: Tensor) -> Any:
        """Logits `(B, K, H, W)` of images `(B, C, H, W)`, 0 to 1.

        Images of other than three channels are normalized by the mean of the three colours' statistics.
        """
        statistics = [self.get_buffer("mean"), self.get_buffer("std")]
        if image.shape[1] != 3:
            statistics = [values.mean(dim=1, keepdim=True) for values in statistics]
        mean, std = statistics
        return super().forward((image - mean) / std)

    def on_train_epoch_start(self) -> None:
        """Freezes the encoder or lets it learn, by the epoch; logs both learning rates."""
        super().on_train_epoch_start()
        frozen, encoder = self.encoder_is_frozen, self.network.get_submodule("encoder")
        encoder.requires_grad_(not frozen)
        encoder.train(not frozen)
        if self.batch_norm == "frozen":
            for layer in encoder.modules():
                if isinstance(layer, _BatchNorm):
                    layer.eval()
        self.log("train/encoder_lr", 0.0 if frozen else self.trainer.optimizers[0].param_groups[1]["lr"])

    def configure_optimizers(self) -> Any:
        """One optimizer with two groups of weights, the encoder's second, and the scheduler of both."""
        encoder = list(self.network.get_submodule("encoder").parameters())
        known = set(encoder)
        others = [parameter for parameter in self.network.parameters() if parameter not in known]
        groups = [{"params": others}, {"params": encoder, "lr": self.encoder_lr}]
        return self._scheduled(self.optimizer(groups), "lr")


def _check_phases(finetune: str, freeze_epochs: int, batch_norm: str, encoder_lr: float) -> None:
    if finetune not in get_args(Finetune):
        raise InputError(f"model.finetune={finetune} is unknown: choose all or head.")
    if batch_norm not in get_args(BatchNorm):
        raise InputError(f"model.batch_norm={batch_norm} is unknown: choose train or frozen.")
    if not is_whole(freeze_epochs) or freeze_epochs < 0:
        raise InputError(f"model.freeze_epochs={freeze_epochs} is no count: give a whole number of at least 0.")
    if not is_number(encoder_lr) or encoder_lr < 0:
        raise InputError(f"model.encoder_lr={encoder_lr} is no learning rate: give a number of at least 0.")
