import math

import numpy as np
import pytest
from scipy.stats import norm

from kidney_lab.reporting.statistics import bootstrap_interval

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
    interval = bootstrap_interval([0.5, 0.5, 0.5])
    assert (interval.low, interval.mean, interval.high) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("values", [[], [0.5], [0.5, math.nan]])
def test_fewer_than_two_values_have_no_interval(values):
    interval = bootstrap_interval(values)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    assert interval.mean == 0.5 or not values
