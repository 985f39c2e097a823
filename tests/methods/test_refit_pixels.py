import tracemalloc
from collections import Counter

import numpy as np
import pytest
import torch

from kidney_lab.errors import InputError
from kidney_lab.methods.refit_pixels import PixelReservoir, RoiPixels, even_quotas


def pixels(case, n_positive, n_negative):
    """Pixels whose heat tells the case and whose image tells the pixel."""
    n = n_positive + n_negative
    label = torch.arange(n) % n < n_positive
    order = torch.from_numpy(np.random.default_rng(case).permutation(n))
    return RoiPixels(torch.rand(n), torch.full((n,), float(case)), torch.arange(n).float(), label[order])


def sampled(cases, max_pixels, *, pieces=1, seed=0):
    reservoir = PixelReservoir(max_pixels, seed=seed)
    for case, found in cases.items():
        for part in zip(*(column.tensor_split(pieces) for column in found), strict=True):
            reservoir.add(f"case_{case:05d}", RoiPixels(*part))
    return reservoir.sample()


def by_case(sample):
    return Counter(sample.heat.int().tolist())


CASES = {case: pixels(case, 400 + 10 * case, 900) for case in range(5)}


def test_takes_as_many_of_every_case():
    assert by_case(sampled(CASES, 200)) == {case: 40 for case in range(5)}


def test_a_small_case_gives_what_it_has_and_the_others_fill_up():
    cases = {0: pixels(0, 3, 5), 1: pixels(1, 500, 500), 2: pixels(2, 500, 2)}
    assert by_case(sampled(cases, 60)) == {0: 8, 1: 26, 2: 26}


def test_positive_and_negative_pixels_keep_their_share():
    sample = sampled({case: pixels(case, 7000, 3000) for case in range(4)}, 8000)
    assert sample.label.float().mean().item() == pytest.approx(0.7, abs=4 * (0.7 * 0.3 / 8000) ** 0.5)


def test_every_pixel_is_taken_where_there_is_room_and_once():
    case = pixels(0, 50, 50)
    sample = sampled({0: case}, 1000)
    assert sorted(sample.image.tolist()) == list(range(100))
    found = {(p, image, label) for p, _, image, label in zip(*(c.tolist() for c in sample), strict=True)}
    assert found == {(p, image, label) for p, _, image, label in zip(*(c.tolist() for c in case), strict=True)}


@pytest.mark.parametrize("max_pixels", [101, 200, 1000])
def test_the_sample_depends_on_neither_the_order_of_cases_nor_their_pieces(max_pixels):
    expected = sampled(CASES, max_pixels)
    backwards = sampled(dict(reversed(CASES.items())), max_pixels, pieces=7)
    assert all(torch.equal(one, other) for one, other in zip(expected, backwards, strict=True))


def test_another_seed_gives_another_sample():
    samples = [sampled(CASES, 200, seed=seed).image for seed in (0, 0, 1)]
    assert torch.equal(samples[0], samples[1])
    assert not torch.equal(samples[0], samples[2])


def test_every_pixel_of_a_case_is_as_likely_as_any_other():
    drawn = Counter()
    for seed in range(300):
        sample = sampled({0: pixels(0, 20, 20), 1: pixels(1, 20, 20), 2: pixels(2, 20, 20)}, 30, seed=seed, pieces=3)
        drawn.update(sample.image[sample.heat == 1].int().tolist())
    counts = np.array([drawn[pixel] for pixel in range(40)])
    assert counts.sum() == 300 * 10
    assert ((counts - 75) ** 2 / 75).sum() < 66  # chi-squared with 39 degrees of freedom, p = 0.004


def test_it_holds_twice_the_sample_at_most():
    reservoir = PixelReservoir(20_000)
    piece = pixels(0, 20_000, 20_000)
    reservoir.add("warm up", piece)
    tracemalloc.start()
    for case in range(100):
        reservoir.add(f"case_{case:05d}", piece)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 2 * 20_000 * 24 * 1.1
    assert len(reservoir.sample().label) == 20_000


def test_half_precision_is_taken():
    case = pixels(0, 5, 5)
    half = RoiPixels(*(column.bfloat16() for column in case[:3]), case.label)
    sample = sampled({0: half}, 100)
    assert sample.probability.dtype == torch.float32
    assert sorted(sample.probability.tolist()) == sorted(half.probability.tolist())


def test_without_pixels_it_is_empty():
    assert len(PixelReservoir().sample().label) == 0


def test_room_for_less_than_a_pixel_of_each_kind_is_refused():
    with pytest.raises(InputError, match=r"model\.refit\.max_pixels=1 is too small: give 2 or more"):
        PixelReservoir(1)


@pytest.mark.parametrize(
    ("counts", "budget", "quotas"),
    [
        ([], 5, []),
        ([3, 3], 10, [3, 3]),
        ([9, 9, 9], 9, [3, 3, 3]),
        ([9, 9, 9], 11, [3, 4, 4]),
        ([0, 100, 5], 25, [0, 20, 5]),
        ([5, 5, 5], 2, [0, 1, 1]),
    ],
)
def test_quotas_use_the_budget_evenly(counts, budget, quotas):
    assert even_quotas(counts, budget) == quotas
