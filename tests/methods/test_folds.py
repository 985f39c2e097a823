import numpy as np
import pytest

from kidney_lab.errors import InputError
from kidney_lab.methods.folds import held_out, training_cases


def cases(n):
    return [f"case_{k:05d}" for k in range(n)]


@pytest.mark.parametrize(("n", "n_folds"), [(2, 2), (7, 3), (12, 5), (134, 5), (9, 9)])
def test_every_case_is_held_out_once_and_folds_are_of_one_size(n, n_folds):
    for seed in range(5):
        folds = held_out(cases(n), n_folds=n_folds, seed=seed)

        assert len(folds) == n_folds
        assert sorted(case for fold in folds for case in fold) == cases(n)
        assert {len(fold) for fold in folds} <= {n // n_folds, -(-n // n_folds)}
        assert all(fold == sorted(fold) for fold in folds)


@pytest.mark.parametrize(("n", "n_folds"), [(2, 2), (7, 3), (134, 5)])
def test_no_fold_s_network_learns_from_a_case_that_it_predicts(n, n_folds):
    folds = held_out(cases(n), n_folds=n_folds, seed=3)

    for k, fold in enumerate(folds):
        learned = training_cases(folds, k)
        assert not set(learned) & set(fold)
        assert sorted([*learned, *fold]) == cases(n)


def test_the_order_of_the_cases_and_repeats_change_nothing():
    shuffled = np.random.default_rng(0).permutation(cases(20)).tolist()

    assert held_out([*shuffled, shuffled[0]], n_folds=4, seed=1) == held_out(cases(20), n_folds=4, seed=1)


def test_the_seed_deals_anew_and_always_alike():
    dealt = [held_out(cases(20), n_folds=4, seed=seed) for seed in (1, 1, 2)]

    assert dealt[0] == dealt[1] != dealt[2]
    assert dealt[0][0] != cases(20)[::4]  # at random, not in turn


@pytest.mark.parametrize("n_folds", [-1, 0, 1, 11, 2.5, True, None])
def test_so_many_folds_are_refused(n_folds):
    message = rf"model\.folds={n_folds} cannot divide 10 training cases: give a whole number from 2 to"
    with pytest.raises(InputError, match=message):
        held_out(cases(10), n_folds=n_folds, seed=0)
