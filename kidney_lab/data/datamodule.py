"""Batches of one stage: training samples, fixed validation samples, and whole validation cases."""

import os
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
from torch.utils.data import DataLoader, default_collate

from kidney_lab.data.kits import Annotation
from kidney_lab.data.sampling import EpochSampler
from kidney_lab.data.splits import Split
from kidney_lab.data.store import Store
from kidney_lab.data.views import View, ViewDataset, WholeCaseDataset
from kidney_lab.data.views.prior_input import PriorInput
from kidney_lab.transforms.augment import Augment


class StageDataModule(pl.LightningDataModule):
    """Reads one stage's samples from its store.

    With `augment.device=gpu` the training batches that the workers send are lists of samples as they are stored (int16
    HU, of different shapes); they are normalised, augmented and stacked on the device.

    Args:
        store: of the stage's grid.
        split: of the dataset.
        view: how training samples are read.
        intensity: MONAI transform from HU to the network's input.
        augment: of training samples.
        labels: foreground labels.
        batch_size: per rank.
        num_workers: loading processes per rank; None: two less than there are cores, at most 8.
        seed: of sampling and augmentation.
        annotation: whose label maps are learned, see `ViewDataset`; validation always uses the reference.
        train_prior: what training samples take from an earlier stage.
        val_prior: what validation samples and cases take from it.
    """

    def __init__(
        self,
        store: Store,
        split: Split,
        *,
        view: View,
        intensity: Any,
        augment: Augment,
        labels: Sequence[int],
        batch_size: int,
        num_workers: int | None,
        seed: int,
        annotation: Annotation = "majority",
        train_prior: PriorInput | None = None,
        val_prior: PriorInput | None = None,
    ) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True  # more ranks than validation cases
        self.store = store
        self.split = split
        self.view = view
        self.intensity = intensity
        self.labels = labels
        self.batch_size = batch_size
        # Two cores are left to the training step, which is slower by 10 % where a worker shares them.
        self.num_workers = min(8, max(0, (os.cpu_count() or 1) - 2)) if num_workers is None else num_workers
        self.seed = seed
        self.train_samples = self._samples(split.train, augment=augment, annotation=annotation, prior=train_prior)
        self.val_samples = self._samples(split.val, augment=None, annotation="majority", prior=val_prior)
        self.val_priors = None if val_prior is None else val_prior.priors

    def _samples(self, cases: Sequence[str], **settings: Any) -> ViewDataset:
        return ViewDataset(
            self.store,
            cases,
            view=self.view,
            intensity=self.intensity,
            labels=self.labels,
            seed=self.seed,
            **settings,
        )

    def _sampler(self, n_samples: int, epoch: int) -> EpochSampler:
        trainer = self.trainer
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)
        return EpochSampler(n_samples, batch_size=self.batch_size, rank=rank, world_size=world_size, epoch=epoch)

    def train_dataloader(self) -> DataLoader[Any]:
        """Augmented samples; begins with the epoch that comes next, since workers read ahead at once.

        On a resume the loader is built before Lightning tells its sampler the epoch, and `trainer.current_epoch` is
        still the last one; what is counted as processed is the one that Lightning will tell.
        """
        epoch = _next_epoch(self.trainer) if self.trainer is not None else 0
        return DataLoader(
            self.train_samples,
            batch_size=self.batch_size,
            sampler=self._sampler(self.view.samples_per_epoch, epoch),
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=_on_gpu(self.trainer),
            collate_fn=list if self.train_samples.on_device else default_collate,
        )

    def val_dataloader(self) -> list[DataLoader[Any]]:
        """Two loaders: the same samples every time, and this rank's share of the whole cases."""
        trainer = self.trainer
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)
        samples = DataLoader(
            self.val_samples,
            batch_size=self.batch_size,
            # A list has no set_epoch, so Lightning cannot move it on: the same samples every time.
            sampler=list(self._sampler(self.view.val_samples, epoch=0)),
        )
        share = self.split.val[rank::world_size]
        whole = WholeCaseDataset(self.store, share, priors=self.val_priors)
        return [samples, DataLoader(whole, batch_size=None)]

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Finishes, on the device, a training batch whose samples came as they are stored."""
        if not isinstance(batch, list):
            return batch
        return default_collate([self.train_samples.finish_again(sample) for sample in batch])


def _next_epoch(trainer: pl.Trainer) -> int:
    progress: Any = trainer.fit_loop.epoch_progress.current  # declared without the counter that it has
    return int(progress.processed)


def _on_gpu(trainer: pl.Trainer | None) -> bool:
    return trainer is not None and trainer.strategy.root_device.type == "cuda"
