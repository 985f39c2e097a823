"""Which sample is drawn when: a function of (seed, epoch, index) alone.

A sample's key carries the epoch, so that nothing depends on a worker's or a rank's state: any number of workers and
ranks draws the same epoch, and an interrupted epoch that is started again draws the same samples.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Sampler


@dataclass(frozen=True)
class SampleKey:
    """Names one sample of a training.

    Args:
        epoch: counted from 0.
        index: of the sample in the epoch, over all ranks, counted from 0.
    """

    epoch: int
    index: int

    def rng(self, seed: int) -> np.random.Generator:
        """Random generator of this sample and no other."""
        return np.random.default_rng([seed, self.epoch, self.index])


class EpochSampler(Sampler[SampleKey]):
    """Keys of one rank's share of an epoch.

    Ranks take turns batch by batch, so that a step over all ranks sees the samples that a single process with the
    same global batch would see.

    Args:
        n_samples: of an epoch, over all ranks; rounded down to whole global batches, at least one.
        batch_size: per rank.
        rank: of this process.
        world_size: number of processes.
        epoch: to begin with.
    """

    def __init__(self, n_samples: int, *, batch_size: int, rank: int = 0, world_size: int = 1, epoch: int = 0) -> None:
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self.steps = max(1, n_samples // (batch_size * world_size))
        self.epoch = epoch

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch that the next iteration draws; Lightning calls this."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps * self.batch_size

    def __iter__(self) -> Iterator[SampleKey]:
        for step in range(self.steps):
            first = (step * self.world_size + self.rank) * self.batch_size
            for index in range(first, first + self.batch_size):
                yield SampleKey(self.epoch, index)
