from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy.stats import friedmanchisquare, wilcoxon

from kidney_lab.errors import InputError
from kidney_lab.reporting.comparison import compare_pair, holm
from kidney_lab.reporting.rank_tests import rank_tests


def test_friedman_s_statistic_is_that_of_a_hand_computed_example():
    # ranks A 1 1 1 1 2, B 2 2 3 2 1, C 3 3 2 3 3: sums 6, 10, 14
    values = pd.DataFrame({"B": [2, 2, 1, 2, 3], "C": [1, 1, 2, 1, 1], "A": [3, 3, 3, 3, 2]}, dtype=float)
    found = rank_tests(values)

    assert found.ranks == {"A": 1.2, "B": 2.0, "C": 2.8}
    assert list(found.ranks) == ["A", "B", "C"]  # best first
    # 12 / (n k (k + 1)) * sum of squares - 3 n (k + 1) = 12 / 60 * 332 - 60
    assert found.chi2 == pytest.approx(6.4)
    assert found.p == pytest.approx(np.exp(-6.4 / 2))  # of chi-squared with two degrees of freedom
    assert (found.n_cases, found.n_left_out) == (5, 0)


def test_numbers_are_those_of_scipy():
    rng = np.random.default_rng(0)
    values = pd.DataFrame(
        rng.random((15, 4)).round(1) + np.array([0, 0.1, 0.5, 0.6]), columns=list("ABCD")
    )  # with ties
    found = rank_tests(values)

    statistic, p = friedmanchisquare(*values.to_numpy().T)
    assert (found.chi2, found.p) == pytest.approx((statistic, p))
    expected = holm([wilcoxon((values[a] - values[b]).round(12)).pvalue for a, b in found.pairs])
    assert list(found.pairs.values()) == pytest.approx(expected.tolist())
    assert len(found.pairs) == 6


def test_cliques_join_neighbours_of_which_no_pair_differs():
    noise = np.linspace(-0.02, 0.02, 12)
    values = pd.DataFrame({"good": 0.9 + noise, "same": 0.9 - noise, "bad": 0.5 + noise, "worst": 0.1 + noise})
    found = rank_tests(values)

    assert found.cliques == [("good", "same")]
    assert found.pairs["good", "same"] > 0.05
    assert found.pairs["bad", "worst"] < 0.05


def test_cliques_may_overlap_and_none_lies_within_another():
    # each differs clearly from the second next, and not from the next
    rng = np.random.default_rng(1)
    base = rng.random(12)
    values = pd.DataFrame({name: base + 0.3 * step + rng.normal(0, 0.5, 12) for step, name in enumerate("DCBA")})
    found = rank_tests(values)
    names = list(found.ranks)

    for first, last in found.cliques:
        inside = names[names.index(first) : names.index(last) + 1]
        assert all(p >= 0.05 for pair, p in found.pairs.items() if set(pair) <= set(inside))
    spans = [(names.index(first), names.index(last)) for first, last in found.cliques]
    assert len(spans) > 1
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(spans))


def test_without_a_difference_by_friedman_no_pair_is_tested_and_all_are_one_clique():
    values = pd.DataFrame({"A": [1.0, 2, 3, 4, 5, 6], "B": [2.0, 1, 4, 3, 6, 5], "C": [1.5, 1.5, 3.5, 3.5, 5.5, 5.5]})
    found = rank_tests(values)

    assert found.pairs == {}
    assert found.cliques == [(next(iter(found.ranks)), list(found.ranks)[-1])]


def test_methods_that_are_equal_in_every_case_share_the_middle_rank():
    found = rank_tests(pd.DataFrame({name: np.full(6, 0.1) for name in "ABC"}))

    assert found.ranks == {"A": 2.0, "B": 2.0, "C": 2.0}
    assert (found.chi2, found.p) == (0.0, 1.0)


def test_what_differs_by_rounding_alone_is_a_tie():
    found = rank_tests(pd.DataFrame({"A": [0.3] * 5, "B": [0.1 + 0.2] * 5, "C": [0.2] * 5}))

    assert found.ranks == {"A": 1.5, "B": 1.5, "C": 3.0}


def test_pairs_are_tested_as_two_runs_are():
    rng = np.random.default_rng(2)
    values = pd.DataFrame(rng.random((9, 3)).round(1) + np.array([0, 0.4, 0.8]), columns=list("ABC"))  # with ties
    found = rank_tests(values)

    expected = holm([compare_pair(values[a], values[b]).wilcoxon_p for a, b in found.pairs])
    assert list(found.pairs.values()) == expected.tolist()


def test_smaller_values_are_better_where_the_score_says_so():
    values = pd.DataFrame({"near": [1.0] * 6, "far": [9.0] * 6, "middle": [3.0] * 6})

    assert list(rank_tests(values, larger_is_better=False).ranks) == ["near", "middle", "far"]


def test_cases_with_an_undefined_value_are_left_out_and_counted():
    values = pd.DataFrame(np.random.default_rng(0).random((8, 3)), columns=list("ABC"))
    values.loc[2, "B"] = np.nan
    found = rank_tests(values)

    assert (found.n_cases, found.n_left_out) == (7, 1)
    assert found.chi2 == pytest.approx(friedmanchisquare(*values.dropna().to_numpy().T).statistic)


@pytest.mark.parametrize("shape", [(8, 2), (4, 3)])
def test_too_few_methods_or_cases_are_refused(shape):
    with pytest.raises(InputError, match=f"Ranks of {shape[1]} methods over {shape[0]} cases cannot be tested: give 3"):
        rank_tests(pd.DataFrame(np.random.default_rng(0).random(shape)))
