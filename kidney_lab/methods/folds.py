"""Folds of the training cases, so that an earlier stage's predictions of them can be out of fold.

A network's predictions of the cases that it was trained on are better than those that it will make later, and a later
stage that learns from them trusts them too much. Out of fold, every training case is predicted by a network that never
saw it: one network per fold, trained on the cases of the other folds (Wolpert, Stacked generalization, Neural Networks
5(2), 1992, doi:10.1016/S0893-6080(05)80023-1).
"""

from collections.abc import Sequence

from monai.data import partition_dataset

from kidney_lab.errors import InputError
from kidney_lab.wording import counted


def held_out(cases: Sequence[str], *, n_folds: int, seed: int) -> list[list[str]]:
    """Deals cases into folds at random but always alike.

    Args:
        cases: ids of the training cases, in any order.
        n_folds: from 2 to the number of cases.
        seed: of the permutation.

    Returns:
        The cases that each fold holds out, sorted: every case in one fold, and no fold larger than another by more than
        one case.

    Raises:
        InputError: there cannot be so many folds.
    """
    each = sorted(set(cases))
    if not isinstance(n_folds, int) or isinstance(n_folds, bool) or not 2 <= n_folds <= len(each):
        raise InputError(
            f"model.folds={n_folds} cannot divide {counted(len(each), 'training case')}: give a whole number from 2 to "
            "the number of training cases, or choose model.prior=predicted, which needs no folds."
        )
    return [sorted(fold) for fold in partition_dataset(each, num_partitions=n_folds, shuffle=True, seed=seed)]


def training_cases(folds: Sequence[Sequence[str]], fold: int) -> list[str]:
    """The cases that the network of one fold learns from: those of all others.

    Args:
        folds: what `held_out` gave.
        fold: its index, from 0 on.

    Returns:
        Case ids, sorted.
    """
    return sorted(case for index, cases in enumerate(folds) if index != fold for case in cases)
