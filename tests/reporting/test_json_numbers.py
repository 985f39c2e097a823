from math import nan

import numpy as np

from kidney_lab.reporting.json_numbers import json_interval, json_number
from kidney_lab.reporting.statistics import Interval


def test_numbers_are_as_exact_as_is_wished_and_null_where_undefined():
    third = np.float64(1) / 3

    assert (json_number(third), json_number(third, 6), json_number(nan), json_number(nan, 6)) == (
        1 / 3,
        0.333333,
        None,
        None,
    )


def test_an_interval_has_its_mean_its_ends_and_its_counts():
    assert json_interval(Interval(0.12345678, nan, nan, n=3, n_undefined=1), 4) == {
        "mean": 0.1235,
        "interval_95": [None, None],
        "n": 3,
        "n_undefined": 1,
    }
