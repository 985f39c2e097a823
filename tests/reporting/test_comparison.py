import math
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata, wilcoxon
from scipy.stats import t as student

from kidney_lab.errors import InputError
from kidney_lab.metrics import metrics_frame
from kidney_lab.reporting.comparison import COLUMNS, compare_pair, compare_runs, family_words, holm, signed_rank_p
from kidney_lab.reporting.statistics import bootstrap_interval

DICE = ("tumor", "dice")


def table(values, metric="dice"):
    return metrics_frame({case: {("tumor", metric): value} for case, value in values.items()})


def exact_wilcoxon_p(differences):
    """Share of all signs of the ranks whose sum is at least as far from its middle."""
    changed = differences[differences != 0]
    ranks = rankdata(np.abs(changed))
    middle = ranks.sum() / 2
    sums = np.array([ranks @ signs for signs in product((0, 1), repeat=len(ranks))])
    return np.mean(np.abs(sums - middle) >= abs(ranks[changed > 0].sum() - middle) - 1e-9)


def test_tests_and_effect_sizes_of_a_case_by_hand():
    first, second = np.array([8.0, 6, 9, 7, 5]), np.array([5.0, 7, 4, 7, 1])  # differences 3, -1, 5, 0, 4
    paired = compare_pair(first, second)
    # ranks without the zero: 1 -> 1 (negative), 3 -> 2, 4 -> 3, 5 -> 4
    assert paired.rank_biserial == pytest.approx((9 - 1) / 10)
    assert paired.wilcoxon_p == pytest.approx(4 / 16)  # W- of 0 or 1, and as many on the other side
    mean, sd = 11 / 5, math.sqrt(((0.8**2) + (3.2**2) + (2.8**2) + (2.2**2) + (1.8**2)) / 4)
    assert paired.cohens_dz == pytest.approx(mean / sd)
    assert paired.t_p == pytest.approx(2 * student.sf(mean / sd * math.sqrt(5), df=4))
    assert paired.difference == bootstrap_interval([3, -1, 5, 0, 4])


@pytest.mark.parametrize("n_equal", [0, 2])
def test_signed_rank_test_is_exact_for_few_cases(n_equal):
    rng = np.random.default_rng(3)
    differences = np.concatenate([rng.normal(0.4, 1, 9), np.zeros(n_equal)])
    assert compare_pair(differences, differences * 0).wilcoxon_p == pytest.approx(exact_wilcoxon_p(differences))


@pytest.mark.parametrize("n", [3, 5, 8, 11, 14])
@pytest.mark.parametrize("kind", ["ties", "zeros", "both", "none"])
def test_the_signed_rank_test_is_that_of_scipy_with_ties_and_without(n, kind):
    differences = np.random.default_rng(n).normal(0.3, 1, n)
    if kind in ("ties", "both"):
        differences = np.round(differences * 2) / 2 + (0.25 if kind == "ties" else 0)
    if kind in ("zeros", "both"):
        differences[0] = 0
    expected = wilcoxon(differences, zero_method="wilcox").pvalue
    assert compare_pair(differences, differences * 0).wilcoxon_p == pytest.approx(expected, rel=1e-12)


def test_the_signed_rank_test_of_pairs_that_are_equal_but_for_rounding_is_no_evidence():
    assert signed_rank_p([0.1 + 0.2, 0.5], [0.3, 0.5]) == 1
    assert signed_rank_p([100.1 + 100.2, 7.0], [200.3, 7.0]) == 1  # as coarse as the values are large
    assert signed_rank_p([0, 0, 0], [0, 0, 0]) == 1


def test_what_a_value_without_a_partner_is_does_not_blur_the_other_pairs():
    nan = math.nan
    paired = compare_pair([1e9, 2e-6, 3e-6, 4e-6], [nan, 1e-6, 1e-6, 1e-6])
    assert paired.wilcoxon_p == pytest.approx(2 / 2**3)


def test_swapping_the_runs_swaps_the_signs_alone():
    rng = np.random.default_rng(4)
    first, second = rng.random(30), rng.random(30)
    there, back = compare_pair(first, second), compare_pair(second, first)
    assert (back.rank_biserial, back.cohens_dz) == pytest.approx((-there.rank_biserial, -there.cohens_dz))
    assert (back.wilcoxon_p, back.t_p) == pytest.approx((there.wilcoxon_p, there.t_p))
    assert back.difference.mean == pytest.approx(-there.difference.mean)


def test_pairs_with_an_undefined_value_are_left_out_and_counted():
    nan = math.nan
    paired = compare_pair([0.9, nan, 0.5, 0.7, 0.8], [0.8, 0.4, nan, 0.4, 0.6])
    assert (paired.difference.n, paired.difference.n_undefined) == (3, 2)
    assert paired.difference.mean == pytest.approx(0.2)


@pytest.mark.filterwarnings("error")
def test_what_cannot_be_tested_is_undefined():
    for first, second in [([0.5], [0.4]), ([], []), ([math.nan, 1], [1, 2])]:
        paired = compare_pair(first, second)
        assert np.isnan([paired.wilcoxon_p, paired.t_p, paired.rank_biserial, paired.cohens_dz]).all()
    shifted = compare_pair([0.6, 0.7, 0.8, 0.9], [0.5, 0.6, 0.7, 0.8])  # the same difference but for rounding
    assert np.isnan([shifted.t_p, shifted.cohens_dz]).all()
    assert shifted.rank_biserial == 1
    assert shifted.wilcoxon_p == pytest.approx(2 / 16)


@pytest.mark.filterwarnings("error")
def test_equal_pairs_are_no_evidence_and_count_in_the_correction():
    equal = compare_pair([0.5, 0.6, 0.1 + 0.2], [0.5, 0.6, 0.3])
    assert (equal.wilcoxon_p, equal.t_p) == (1, 1)
    assert np.isnan([equal.rank_biserial, equal.cohens_dz]).all()

    changed = table({case: value + 0.01 * k for k, (case, value) in enumerate(VALUES.items(), 1)})
    compared = compare_runs({"a": table(VALUES), "same": table(VALUES), "b": changed}, [DICE], baseline="a")
    assert compared["wilcoxon_p"].tolist() == [1, 2 / 2**8]
    assert compared["wilcoxon_p_holm"].tolist() == [1, 2 * 2 / 2**8]  # corrected over two


def test_the_family_is_what_is_corrected_for():
    nan = math.nan
    assert family_words([0.1, 1], [0.1, 1]) == "all 2 comparisons of this table"
    assert family_words([0.1, 1, nan], [nan, 1, nan]) == (
        "the 2 (t-test: 1) of the 3 comparisons of this table that can be tested"
    )


def test_holm_multiplies_the_smallest_by_all_and_keeps_the_order():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.6]) == pytest.approx([1, 1])
    assert holm([0.02]) == pytest.approx([0.02])


def test_holm_does_not_count_what_was_not_tested():
    corrected = holm([0.02, math.nan, 0.01])
    assert corrected[[0, 2]] == pytest.approx([0.02, 0.02])
    assert math.isnan(corrected[1])
    assert holm([]).shape == (0,)


def test_holm_is_that_of_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest", reason="statsmodels is not installed")
    p_values = np.random.default_rng(5).random(50) ** 3
    np.testing.assert_allclose(holm(p_values), multitest.multipletests(p_values, method="holm")[1], rtol=1e-12)


VALUES = {f"case_{i:05d}": value for i, value in enumerate([0.9, 0.8, 0.85, 0.6, 0.7, 0.95, 0.4, 0.88])}
SHIFTS = [0.05, 0.02, 0.03, -0.01, 0.06, 0.01, 0.1, 0.04]
BETTER = {case: value + shift for (case, value), shift in zip(VALUES.items(), SHIFTS, strict=True)}


def test_every_pair_of_runs_is_compared_and_corrected_as_one_family():
    mixed = dict(reversed(BETTER.items()))  # cases are matched by name, not by place
    runs = {"unet": table(VALUES), "vnet": table(mixed), "ernet": table({c: v - 0.1 * v for c, v in VALUES.items()})}
    compared = compare_runs(runs, [DICE])
    assert compared.columns.tolist() == list(COLUMNS)
    assert compared[["run", "other"]].to_numpy().tolist() == [["unet", "vnet"], ["unet", "ernet"], ["vnet", "ernet"]]
    assert compared["difference"][0] == pytest.approx(-np.mean(SHIFTS))
    assert compared["rank_biserial"][0] == pytest.approx(-(36 - 1.5 - 1.5) / 36, abs=0.03)
    np.testing.assert_array_equal(compared["wilcoxon_p_holm"], holm(compared["wilcoxon_p"]))
    assert compared["t_p_holm"].max() >= compared["t_p"].max()


def test_with_a_baseline_each_other_run_is_compared_with_it():
    runs = {"vnet": table(BETTER), "unet": table(VALUES), "ernet": table(BETTER)}
    compared = compare_runs(runs, [DICE], baseline="unet")
    assert compared[["run", "other"]].to_numpy().tolist() == [["vnet", "unet"], ["ernet", "unet"]]
    assert (compared["difference"] > 0).all()
    assert (compared["n"] == 8).all()


def test_several_scores_are_one_family():
    both = {
        "a": pd.concat([table(VALUES), table(VALUES, "hd95")]),
        "b": pd.concat([table(BETTER), table(BETTER, "hd95")]),
    }
    compared = compare_runs(both, [DICE, ("tumor", "hd95")])
    assert compared["metric"].tolist() == ["dice", "hd95"]
    assert compared["wilcoxon_p_holm"].tolist() == pytest.approx((compared["wilcoxon_p"] * 2).tolist())


def test_runs_on_other_cases_are_refused_and_the_cases_listed():
    fewer = {case: VALUES[case] for case in list(VALUES)[2:]}
    other = {**VALUES, "case_00099": 0.5}
    with pytest.raises(InputError, match="on the same cases alone") as error:
        compare_runs({"a": table(VALUES), "b": table(fewer), "c": table(other)}, [DICE])
    assert "a lacks 1 of 9 cases: case_00099." in str(error.value)
    assert "b lacks 3 of 9 cases: case_00000, case_00001, case_00099." in str(error.value)
    assert "\n  - c " not in str(error.value)


def test_long_lists_of_cases_are_cut():
    with pytest.raises(InputError, match=r"b lacks 7 of 8 cases: case_00001, .*, case_00005 and 2 more"):
        compare_runs({"a": table(VALUES), "b": table({"case_00000": 1.0})}, [DICE])


def test_impossible_comparisons_are_refused():
    runs = {"a": table(VALUES), "b": table(BETTER)}
    with pytest.raises(InputError, match="two runs or more, but there are 1"):
        compare_runs({"a": table(VALUES)}, [DICE])
    with pytest.raises(InputError, match="baseline 'c' is no run: choose out of a, b"):
        compare_runs(runs, [DICE], baseline="c")
    with pytest.raises(InputError, match="None of the runs a, b has hd95 of tumor"):
        compare_runs(runs, [("tumor", "hd95")])
    with pytest.raises(InputError, match="a has case_00003 twice"):
        compare_runs({"a": pd.concat([table(VALUES), table({"case_00003": 1.0})]), "b": table(BETTER)}, [DICE])


def test_ties_stay_ties_whatever_the_last_bits_are():
    x = np.array([0.3, 0.6, 0.7, 0.9, 0.2, 0.5])
    y = x - 0.1
    y[5] = 0.8
    paired = compare_pair(x, y)  # five times 0.1, and -0.3
    assert paired.wilcoxon_p == pytest.approx(exact_wilcoxon_p(np.array([1.0, 1, 1, 1, 1, -3])))
    assert paired.wilcoxon_p == compare_pair([1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 3]).wilcoxon_p
    assert paired.rank_biserial == pytest.approx((15 - 6) / 21)  # five share rank 3

    assert compare_pair([0.3, 0.6, 0.7], [0.2, 0.7, 0.6]).rank_biserial == pytest.approx((2 + 2 - 2) / 6)


def test_pairs_that_differ_by_rounding_alone_are_equal():
    paired = compare_pair([0.1 + 0.2, 0.5, 0.7], [0.3, 0.4, 0.9])  # 0, 0.1, -0.2
    assert paired.rank_biserial == pytest.approx((1 - 2) / 3)
    assert compare_pair([0.1 + 0.2, 0.5], [0.3, 0.5]).wilcoxon_p == 1
    assert compare_pair([0.0, 0.0], [0.0, 0.0]).wilcoxon_p == 1


def test_small_differences_of_large_values_count():
    paired = compare_pair([100.000001, 200.000002, 300.000004], [100, 200, 300])
    assert paired.rank_biserial == 1
    assert paired.wilcoxon_p == pytest.approx(2 / 8)
