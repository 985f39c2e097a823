import math

import numpy as np
import pytest
from scipy.stats import norm

from kidney_lab.reporting.statistics import bootstrap_interval, pooled_interval

VALUES = np.random.default_rng(0).beta(8, 2, size=40)


def test_interval_of_many_values_is_close_to_the_normal_one():
    interval = bootstrap_interval(VALUES)
    half = norm.ppf(0.975) * VALUES.std(ddof=1) / math.sqrt(len(VALUES))
    assert interval.mean == pytest.approx(VALUES.mean())
    assert interval.low == pytest.approx(VALUES.mean() - half, abs=0.01)
    assert interval.high == pytest.approx(VALUES.mean() + half, abs=0.01)
    assert (interval.n, interval.n_undefined) == (40, 0)


def test_interval_is_the_same_every_time_and_narrower_with_less_confidence():
    wide, again, narrow = (
        bootstrap_interval(VALUES),
        bootstrap_interval(VALUES),
        bootstrap_interval(VALUES, confidence=0.5),
    )
    assert wide == again
    assert wide.low < narrow.low < narrow.high < wide.high


def test_accelerated_interval_leans_to_the_longer_tail():
    skewed = np.array([0.0] * 3 + [0.9] * 20)  # three misses pull the mean down
    interval = bootstrap_interval(skewed)
    assert interval.mean - interval.low > interval.high - interval.mean


def test_undefined_values_are_left_out_and_counted():
    interval = bootstrap_interval([*VALUES, math.nan, math.nan])
    assert (interval.n, interval.n_undefined) == (40, 2)
    assert interval.low == bootstrap_interval(VALUES).low


def test_equal_values_have_an_interval_of_no_width():
    interval = bootstrap_interval([0.5] * 5)
    assert (interval.low, interval.mean, interval.high) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("values", [[], [0.5], [0.5, math.nan], [0.3, 0.7], [0.2, 0.4, 0.6, 0.8, math.nan]])
def test_fewer_than_five_values_have_no_interval(values):
    interval = bootstrap_interval(values)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    assert interval.mean == pytest.approx(0.5) or not values
    assert not math.isnan(bootstrap_interval([0.1, *VALUES[:4]]).low)


def test_pooled_score_of_equal_cases_is_theirs_and_its_interval_that_of_resampled_cases():
    rng = np.random.default_rng(1)
    found = rng.integers(50, 100, size=30)
    counts = np.stack([found, np.zeros(30, int), 100 - found, np.full(30, 900)], axis=1)  # every kidney has 100 voxels

    pooled, mean = pooled_interval(counts, "sensitivity"), bootstrap_interval(found / 100)
    # with references of one size the pooled sensitivity is the mean of the cases'
    assert (pooled.mean, pooled.n) == (pytest.approx(mean.mean), 30)
    assert (pooled.low, pooled.high) == pytest.approx((mean.low, mean.high), abs=0.005)
    assert pooled == pooled_interval(counts, "sensitivity")


def test_pooled_score_weighs_large_cases_more_and_is_undefined_without_voxels():
    counts = np.array([[900, 0, 100, 0], [0, 0, 10, 990]])

    assert pooled_interval(counts, "sensitivity").mean == 900 / 1010
    assert math.isnan(pooled_interval(np.repeat(counts, 2, axis=0), "sensitivity").low)  # of four cases
    assert math.isnan(pooled_interval(np.zeros((3, 4), int), "f1").mean)
