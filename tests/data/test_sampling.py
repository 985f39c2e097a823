import numpy as np
import pytest

from kidney_lab.data.sampling import EpochSampler, SampleKey


def batches(sampler: EpochSampler) -> list[list[int]]:
    indices = [key.index for key in sampler]
    return [indices[k : k + sampler.batch_size] for k in range(0, len(indices), sampler.batch_size)]


@pytest.mark.parametrize(("world_size", "batch_size"), [(2, 3), (3, 2), (6, 1)])
def test_every_step_over_all_ranks_is_the_step_of_one_process_with_the_same_global_batch(world_size, batch_size):
    alone = batches(EpochSampler(26, batch_size=6))
    ranks = [
        batches(EpochSampler(26, batch_size=batch_size, rank=rank, world_size=world_size)) for rank in range(world_size)
    ]

    together = [[index for part in step for index in part] for step in zip(*ranks, strict=True)]

    assert together == alone
    assert alone == [list(range(6 * k, 6 * k + 6)) for k in range(4)]


@pytest.mark.parametrize(("n_samples", "length"), [(24, 8), (25, 8), (35, 8), (36, 12), (11, 4), (1, 4)])
def test_an_epoch_is_cut_to_whole_global_batches_but_at_least_one(n_samples, length):
    sampler = EpochSampler(n_samples, batch_size=4, rank=2, world_size=3)

    assert len(sampler) == length
    assert len(list(sampler)) == length


def test_the_epoch_is_in_every_key():
    sampler = EpochSampler(4, batch_size=2, epoch=7)

    assert list(sampler) == [SampleKey(7, index) for index in range(4)]
    sampler.set_epoch(8)
    assert list(sampler) == [SampleKey(8, index) for index in range(4)]


def test_a_sample_has_random_numbers_of_its_own_that_depend_on_seed_epoch_and_index_alone():
    def draw(seed: int, epoch: int, index: int) -> float:
        return SampleKey(epoch, index).rng(seed).random()

    values = {draw(seed, epoch, index) for seed in range(3) for epoch in range(3) for index in range(3)}

    assert len(values) == 27
    assert draw(1, 2, 0) == draw(1, 2, 0)
    assert draw(1, 2, 0) == np.random.default_rng([1, 2, 0]).random()
