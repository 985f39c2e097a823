import math

import numpy as np
import pytest
import torch
from scipy import stats

from kidney_lab.inference import restore
from kidney_lab.inference.fusion import Fused
from kidney_lab.inference.uncertainty import (
    ENTROPY_STEP,
    VARIANCE_STEP,
    mean_and_variance,
    measure_spread,
    predictive_entropy,
)
from kidney_lab.methods.output import LabelOutput, RegionOutput

BINARY = RegionOutput([], ["kidney_and_mass"])
LABELS = LabelOutput(["kidney", "tumor"], ["kidney_and_mass", "tumor"])
SHAPE = (20, 6, 7)
WHOLE = tuple(slice(0, n) for n in SHAPE)


def random(*shape, seed):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [0.5, 2.0, 1.0]])
def test_mean_and_variance_are_those_of_the_members(weights):
    told = [random(4, 5, 6, seed=seed) for seed in range(3)]

    mean, variance = mean_and_variance(told, weights)

    expected = np.average(told, axis=0, weights=weights)
    np.testing.assert_allclose(mean, expected, atol=1e-6)
    np.testing.assert_allclose(
        variance, np.average((np.stack(told) - expected) ** 2, axis=0, weights=weights), atol=1e-6
    )


def test_by_hand():
    mean, variance = mean_and_variance([torch.tensor([0.2]), torch.tensor([0.6])], [1.0, 1.0])

    assert mean.item() == pytest.approx(0.4)
    assert variance.item() == pytest.approx(0.04)
    assert predictive_entropy(mean).item() == pytest.approx(-0.4 * math.log(0.4) - 0.6 * math.log(0.6))


def test_entropy_is_that_of_a_coin_in_nats():
    p = torch.linspace(0, 1, 11)

    np.testing.assert_allclose(predictive_entropy(p), [stats.bernoulli(q).entropy() for q in p.tolist()], atol=1e-6)
    assert predictive_entropy(torch.tensor([1.0000001, -1e-9])).tolist() == pytest.approx([0, 0], abs=1e-6)


def measured(members, region="kidney_and_mass", predicted=None, body=WHOLE, weights=None):
    output = LABELS if len(members[0].output.regions) > 1 else BINARY
    fused = Fused(members, weights or [1.0] * len(members), output, votes=False)
    predicted = np.ones(SHAPE, bool) if predicted is None else predicted
    return measure_spread(fused, region, predicted=predicted, body=body)


def test_members_that_agree_have_no_variance_at_all(said):
    alone = said(random(3, *SHAPE, seed=1).softmax(dim=0), LABELS)

    spread = measured([alone] * 5, "tumor", weights=[0.3, 0.7, 0.9, 0.1, 0.5])

    assert not spread.variance.any()
    assert spread.summary["variance_in_region"] == spread.summary["variance_in_body"] == 0
    assert spread.summary["entropy_in_region"] > 0  # each doubts by itself


def test_maps_are_exact_to_half_a_step_and_summaries_to_more(said):
    values = [random(1, *SHAPE, seed=seed) for seed in range(3)]
    predicted = np.random.default_rng(0).random(SHAPE) > 0.5

    spread = measured([said(value, BINARY) for value in values], predicted=predicted)

    p = np.stack(values)[:, 0].astype(np.float64)
    variance, entropy = p.var(axis=0), stats.bernoulli(p.mean(axis=0)).entropy()
    np.testing.assert_allclose(spread.mean, p.mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(spread.variance * VARIANCE_STEP, variance, atol=VARIANCE_STEP * 0.51)
    np.testing.assert_allclose(spread.entropy * ENTROPY_STEP, entropy, atol=ENTROPY_STEP * 0.51)
    assert spread.summary == pytest.approx(
        {
            "variance_in_region": variance[predicted].mean(),
            "entropy_in_region": entropy[predicted].mean(),
            "variance_in_body": variance.mean(),
            "entropy_in_body": entropy.mean(),
        },
        rel=1e-5,
    )
    assert spread.uncertain == (entropy > math.log(2) / 2).sum()
    assert [spread.mean.dtype, spread.variance.dtype, spread.entropy.dtype] == [np.float16, np.uint8, np.uint8]


def test_the_largest_values_are_the_last_step(said):
    no, yes = (said(np.full((1, *SHAPE), p), BINARY) for p in (0.0, 1.0))

    spread = measured([no, yes])

    assert (spread.variance == 255).all()
    assert (spread.entropy == 255).all()
    assert spread.uncertain == math.prod(SHAPE)


def test_outside_of_what_the_members_look_at_they_are_sure_of_nothing_being_there(said):
    box = (slice(3, 9), slice(0, 6), slice(2, 4))
    half = said(np.full((1, 6, 6, 2), 0.5), BINARY, box, SHAPE)

    spread = measured([half, half], predicted=np.zeros(SHAPE, bool), body=(slice(0, 10), slice(0, 6), slice(0, 7)))

    assert np.count_nonzero(spread.entropy) == 6 * 6 * 2
    assert spread.summary["entropy_in_body"] == pytest.approx(math.log(2) * 6 * 6 * 2 / (10 * 6 * 7))
    assert math.isnan(spread.summary["entropy_in_region"])


def test_slabs_change_nothing(said, monkeypatch):
    members = [said(random(1, *SHAPE, seed=seed), BINARY) for seed in range(3)]
    usual = measured(members)

    monkeypatch.setattr(restore, "SLAB", 3)

    other = measured(members)
    np.testing.assert_array_equal(other.variance, usual.variance)
    np.testing.assert_array_equal(other.entropy, usual.entropy)
    assert other.summary == pytest.approx(usual.summary)
