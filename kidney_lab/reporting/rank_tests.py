"""Which of several methods rank apart over the same cases: Friedman's test, and Wilcoxon's between each two.

J. Demsar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 7 (2006), section 3.2: ranks over
the cases (his data sets), and pairwise tests only where Friedman's test finds any difference. In place of his Nemenyi
test, whose outcome for two methods depends on the others, each pair has Wilcoxon's signed-rank test with Holm's
correction: A. Benavoli, G. Corani and F. Mangili, "Should We Really Use Post-Hoc Tests Based on Mean-Ranks?", JMLR 17
(2016), section 4.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import pandas as pd
from scipy.stats import friedmanchisquare, rankdata

from kidney_lab.errors import InputError
from kidney_lab.reporting.comparison import holm, signed_rank_p

MIN_METHODS: Final = 3
MIN_CASES: Final = 5
LEVEL: Final = 0.05

_DECIMALS: Final = 12  # so that ties are ties: 0.3 - 0.2 and 0.7 - 0.6 differ in their last bits


@dataclass(frozen=True)
class RankTests:
    """Ranks of some methods and how sure they are.

    Args:
        ranks: average rank by name, best first; 1 is best, ties share a rank.
        chi2: of Friedman's test.
        p: of Friedman's test; 1 where all methods are equal in every case.
        pairs: p of each pair of names by Wilcoxon's test, corrected by Holm over all of them; empty where Friedman's
            test finds no difference.
        cliques: first and last name of every longest row of neighbours in `ranks` among which no pair differs.
        n_cases: that every method has a value of.
        n_left_out: other cases.
    """

    ranks: dict[str, float]
    chi2: float
    p: float
    pairs: dict[tuple[str, str], float]
    cliques: list[tuple[str, str]]
    n_cases: int
    n_left_out: int


def rank_tests(values: pd.DataFrame, *, larger_is_better: bool = True, level: float = LEVEL) -> RankTests:
    """Ranks methods case by case and tests them.

    Args:
        values: a row per case and a column per method; cases with a NaN are left out. Of the order of 1: what differs
            by less than 1e-12 counts as equal.
        larger_is_better: whether the largest value of a case has rank 1.
        level: of significance, of both steps.

    Returns:
        Average ranks and tests, all two-sided.

    Raises:
        InputError: fewer than `MIN_METHODS` methods or `MIN_CASES` cases.
    """
    complete = values.dropna().round(_DECIMALS)
    if complete.shape[1] < MIN_METHODS or len(complete) < MIN_CASES:
        raise InputError(
            f"Ranks of {complete.shape[1]} methods over {len(complete)} cases cannot be tested: give {MIN_METHODS} "
            f"methods and {MIN_CASES} cases or more."
        )
    scores = complete.to_numpy() * (-1 if larger_is_better else 1)
    average = pd.Series(rankdata(scores, axis=1).mean(axis=0), index=complete.columns).sort_values(kind="stable")
    if (np.ptp(scores, axis=1) == 0).all():
        chi2, p = 0.0, 1.0
    else:
        chi2, p = (float(number) for number in friedmanchisquare(*scores.T))
    pairs = _pairs(complete[list(average.index)]) if p < level else {}
    differing = {pair for pair, corrected in pairs.items() if corrected < level}
    names = [str(name) for name in average.index]
    ranks = dict(zip(names, average.tolist(), strict=True))
    return RankTests(ranks, chi2, p, pairs, _cliques(names, differing), len(complete), len(values) - len(complete))


def _pairs(values: pd.DataFrame) -> dict[tuple[str, str], float]:
    pairs = [(str(first), str(second)) for first, second in combinations(values, 2)]
    p = [signed_rank_p(values[first], values[second]) for first, second in pairs]
    return dict(zip(pairs, holm(p).tolist(), strict=True))


def _cliques(names: list[str], differing: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """Longest rows of two or more neighbours without a pair that differs; none lies within another."""
    cliques: list[tuple[int, int]] = []
    for first in range(len(names)):
        last = first
        while last + 1 < len(names) and not any(
            (names[k], names[last + 1]) in differing for k in range(first, last + 1)
        ):
            last += 1
        if last > first and (not cliques or last > cliques[-1][1]):
            cliques.append((first, last))
    return [(names[first], names[last]) for first, last in cliques]
