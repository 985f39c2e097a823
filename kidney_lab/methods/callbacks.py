"""Lightning callbacks: the epoch table, seeds that survive a resume, and slices for W&B."""

import logging
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import WandbLogger
from torch import Tensor

from kidney_lab.files import replacing
from kidney_lab.labels import LABELS, TUMOR

log = logging.getLogger(__name__)

WINDOW_HU: Final = (-160.0, 240.0)
"""Soft-tissue window: what is shown black and white."""


class EpochTable(pl.Callback):
    """Writes `epochs.csv` into the run folder: a row per stage and epoch, a column per logged metric.

    Rows of epochs that are trained again after a resume are replaced.
    """

    def __init__(self) -> None:
        self.stage = ""  # set before the stage is fitted

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Adds the epoch that has just ended."""
        logged = trainer.callback_metrics  # in every process: what is averaged over them is averaged by looking
        if not trainer.is_global_zero or trainer.sanity_checking:
            return
        validated = (trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0 or trainer.should_stop
        metrics = {
            name: float(value)
            for name, value in logged.items()
            # Names of one word are the progress bar's; values of a validation stay until the next.
            if (name == "lr" or "/" in name)
            and not name.endswith(("_step", "_epoch"))
            and (validated or not name.startswith("val"))
        }
        row = {"stage": self.stage, "epoch": trainer.current_epoch, "step": trainer.global_step, **metrics}
        path = Path(trainer.default_root_dir) / "epochs.csv"
        rows: list[dict[Any, Any]] = [row]
        if path.is_file():
            before = pd.read_csv(path)
            again = (before["stage"] == self.stage) & (before["epoch"] >= trainer.current_epoch)
            rows = [*before[~again].to_dict("records"), row]
        with replacing(path) as temporary:
            pd.DataFrame(rows).to_csv(temporary, index=False)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        log.info("%s epoch %d: %s", self.stage, trainer.current_epoch, shown)


class EpochSeed(pl.Callback):
    """Seeds torch anew at the start of every epoch, so that dropout too is the same after a resume.

    Args:
        seed: of the training.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seeds from (seed, epoch, rank), before the first batch: building the loader's iterator draws numbers too."""
        if batch_idx > 0:
            return
        sequence = np.random.SeedSequence([self.seed, trainer.current_epoch, trainer.global_rank])
        torch.manual_seed(int(sequence.generate_state(1)[0]))


class LogSlices(pl.Callback):
    """Logs slices of validation cases with predicted and reference masks to W&B, where that is the logger.

    Args:
        n_slices: cases shown, one slice each: the one with the most tumor, in a soft-tissue window.
    """

    def __init__(self, n_slices: int) -> None:
        self.n_slices = n_slices

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Logs one slice of a whole case; patches and later cases are passed over."""
        logger = trainer.logger
        if not isinstance(logger, WandbLogger) or not isinstance(outputs, Tensor) or batch_idx >= self.n_slices:
            return
        names = {0: "background", **{value: name for name, value in LABELS.items()}}
        image, reference = batch["image"][0], batch["label"][0]
        z = int((reference == TUMOR).sum(dim=(1, 2)).argmax())
        black, white = WINDOW_HU
        shown = ((image[z].float() - black) / (white - black)).clamp(0, 1)
        masks = {
            key: {"mask_data": volume[z].to(torch.uint8).cpu().numpy(), "class_labels": names}
            for key, volume in (("prediction", outputs), ("reference", reference))
        }
        logger.log_image(f"slices/{batch['case']}", [shown.cpu().numpy()], step=trainer.global_step, masks=[masks])
