"""Whether one run is better than another: paired tests over the cases, effect sizes, and Holm's correction.

Cases differ far more from each other than methods do, so runs are compared case by case, and only where they scored the
same cases. All tests are two-sided.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata, ttest_1samp, wilcoxon

from kidney_lab.errors import InputError
from kidney_lab.reporting.formatting import first_few
from kidney_lab.reporting.scores import values_of
from kidney_lab.reporting.statistics import Interval, bootstrap_interval

COLUMNS: Final = (
    *("region", "metric", "run", "other", "difference", "low", "high", "n", "n_undefined"),
    *("wilcoxon_p", "t_p", "rank_biserial", "cohens_dz", "wilcoxon_p_holm", "t_p_holm"),
)

_EXACT = 13  # cases with ties up to which SciPy's p-value is exact
_DECIMALS = 12  # of the largest value's scale; what lies below is rounding alone


@dataclass(frozen=True)
class PairedComparison:
    """Two runs over the same cases; a positive difference means larger values in the first.

    Args:
        difference: mean of first minus second, with its bootstrap interval; counts pairs, and those undefined.
        wilcoxon_p: see `signed_rank_p`; 1 if all pairs are equal, so that such a comparison counts in a correction.
        t_p: of the paired t-test; 1 if all pairs are equal, NaN where all differ by the same.
        rank_biserial: `(W+ - W-) / (W+ + W-)`, W the sums of the ranks of positive and of negative differences, in
            [-1, 1] (D. S. Kerby, Comprehensive Psychology 2014, doi:10.2466/11.IT.3.1); NaN if all pairs are equal.
        cohens_dz: mean difference over the standard deviation of the differences (ddof = 1) (J. Cohen, "Statistical
            Power Analysis for the Behavioral Sciences", 1988, section 2.3.5); NaN where all differences are the same.
    """

    difference: Interval
    wilcoxon_p: float
    t_p: float
    rank_biserial: float
    cohens_dz: float


def compare_pair(first: ArrayLike, second: ArrayLike, *, confidence: float = 0.95) -> PairedComparison:
    """Compares two runs case by case.

    Args:
        first: one value per case; NaN is undefined, and the pair is left out and counted.
        second: values of the same cases in the same order.
        confidence: of the bootstrap interval, between 0 and 1.

    Returns:
        Tests and effect sizes, which are undefined with fewer than two pairs.
    """
    pairs = np.array([first, second], dtype=float)
    everything = pairs[0] - pairs[1]
    interval = bootstrap_interval(everything, confidence=confidence)
    if interval.n < 2:
        return PairedComparison(interval, np.nan, np.nan, np.nan, np.nan)
    defined = ~np.isnan(everything)
    differences, rounded = everything[defined], _rounded_differences(*pairs[:, defined])
    if not rounded.any():
        return PairedComparison(interval, 1.0, 1.0, np.nan, np.nan)
    varied = np.ptp(rounded) > 0
    return PairedComparison(
        difference=interval,
        wilcoxon_p=signed_rank_p(*pairs[:, defined]),
        t_p=float(ttest_1samp(differences, 0).pvalue) if varied else np.nan,
        rank_biserial=_rank_biserial(rounded),
        cohens_dz=float(differences.mean() / differences.std(ddof=1)) if varied else np.nan,
    )


def signed_rank_p(first: ArrayLike, second: ArrayLike) -> float:
    """Two-sided p-value of the signed-rank test (F. Wilcoxon, Biometrics Bulletin 1945, doi:10.2307/3001968).

    It is that of SciPy's `wilcoxon`, which with ties and few cases goes through all signs of the ranks one by one; here
    it is one product of matrices.

    Args:
        first: one value per case, all defined.
        second: values of the same cases in the same order.

    Returns:
        Exact for few cases. Equal pairs are dropped, as Wilcoxon did (SciPy's `zero_method="wilcox"`), and those that
        differ by rounding alone are equal; 1 if all are.
    """
    differences = _rounded_differences(np.asarray(first, dtype=float), np.asarray(second, dtype=float))
    changed = differences[differences != 0]
    if not len(changed):
        return 1.0
    distinct = len(np.unique(np.abs(changed))) == len(differences)
    if distinct or len(differences) > _EXACT:
        return float(wilcoxon(differences, zero_method="wilcox").pvalue)
    ranks = rankdata(np.abs(changed))
    signs = np.arange(2 ** len(ranks))[:, None] >> np.arange(len(ranks)) & 1
    sums, observed = signs @ ranks, ranks[changed > 0].sum()  # ranks are halves, so that sums are exact
    return float(min(1, 2 * min((sums <= observed).mean(), (sums >= observed).mean())))


def compare_runs(
    tables: Mapping[str, pd.DataFrame],
    scores: Sequence[tuple[str, str]],
    *,
    baseline: str | None = None,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Compares runs with each other, or each with a baseline.

    Args:
        tables: for each run's name its tidy table `case,region,metric,value`; NaN is undefined.
        scores: the (region, metric) pairs to compare.
        baseline: run to compare the others with; None: every run with every other.
        confidence: of the bootstrap intervals.

    Returns:
        A row per score and pair of runs, columns `COLUMNS`: `run` minus `other`, and what `PairedComparison` holds.
        `*_holm` are the p-values of the same test corrected over all rows of this table.

    Raises:
        InputError: fewer than two runs, an unknown baseline, or runs that did not score the same cases, or one twice.
    """
    if len(tables) < 2:
        raise InputError(f"A comparison needs two runs or more, but there are {len(tables)}: name more.")
    if baseline is not None and baseline not in tables:
        raise InputError(f"The baseline {baseline!r} is no run: choose out of {', '.join(tables)}.")
    pairs = (
        list(combinations(tables, 2)) if baseline is None else [(run, baseline) for run in tables if run != baseline]
    )
    values = {score: _values(tables, *score) for score in scores}
    rows = []
    for region, metric in scores:
        by_run = values[region, metric]
        for run, other in pairs:
            paired = compare_pair(by_run[run], by_run[other].reindex(by_run[run].index), confidence=confidence)
            rows.append((region, metric, run, other, *_cells(paired)))
    table = pd.DataFrame(rows, columns=list(COLUMNS[:-2]))
    return table.assign(wilcoxon_p_holm=holm(table["wilcoxon_p"]), t_p_holm=holm(table["t_p"]))


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Corrects p-values for their number (S. Holm, Scandinavian Journal of Statistics 1979, 6(2), 65-70).

    The smallest of m p-values is multiplied by m, the next by m - 1 and so on; none may fall below one before it, or
    exceed 1. A hypothesis is rejected at level a, with an error rate of a over the whole family, if its corrected value
    is at most a.

    Args:
        p_values: in [0, 1]; NaN was not tested, and is not counted.

    Returns:
        Corrected p-values in the same order; NaN where there was none.

    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()  # 3 * 0.01, 2 * 0.03, and 0.04 not below that
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]  # NaN sorts last
    corrected = np.full(p.shape, np.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return corrected


def family_words(*tests: ArrayLike) -> str:
    """Says over how many comparisons of a table `holm` corrects.

    Args:
        tests: p-values, one per comparison, of Wilcoxon's test, and of the t-test where there is one; NaN was not
            tested.

    >>> family_words([0.1, 0.2], [0.3, 0.4]), family_words([0.1, float("nan")])
    ('all 2 comparisons of this table', 'the 1 of the 2 comparisons of this table that can be tested')
    """
    everything = len(np.asarray(tests[0]))
    counts = [int(np.count_nonzero(~np.isnan(np.asarray(p, dtype=float)))) for p in tests]
    if set(counts) == {everything}:
        return f"all {everything} comparisons of this table"
    numbers = f"{counts[0]} (t-test: {counts[-1]})" if len(set(counts)) > 1 else f"{counts[0]}"
    return f"the {numbers} of the {everything} comparisons of this table that can be tested"


def _values(tables: Mapping[str, pd.DataFrame], region: str, metric: str) -> dict[str, "pd.Series[float]"]:
    """Values of one score by run and case, if all runs have the same cases."""
    values = {run: values_of(frame, region, metric) for run, frame in tables.items()}
    everyone = set().union(*(found.index for found in values.values()))
    if not everyone:
        raise InputError(
            f"None of the runs {', '.join(tables)} has {metric} of {region}: choose a score that they have."
        )
    problems = []
    for run, found in values.items():
        if missing := sorted(everyone - set(found.index)):
            problems.append(f"{run} lacks {len(missing)} of {len(everyone)} cases: {first_few(missing)}.")
        if twice := sorted(set(found.index[found.index.duplicated()])):
            problems.append(f"{run} has {first_few(twice)} twice.")
    if problems:
        raise InputError.of(f"Runs are compared on the same cases alone, but {metric} of {region} differs:", problems)
    return values


def _rounded_differences(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Differences whose ties are ties: 0.3 - 0.2 and 0.7 - 0.6 differ in their last bits, and would differ in rank."""
    largest = float(np.abs([first, second]).max(initial=0))
    return np.round(first - second, _DECIMALS - int(np.ceil(np.log10(largest)))) if largest else first - second


def _rank_biserial(differences: NDArray[np.float64]) -> float:
    changed = differences[differences != 0]
    ranks = rankdata(np.abs(changed))
    return float((ranks * np.sign(changed)).sum() / ranks.sum()) if len(changed) else np.nan


def _cells(paired: PairedComparison) -> tuple[float, ...]:
    gap = paired.difference
    tests = (paired.wilcoxon_p, paired.t_p, paired.rank_biserial, paired.cohens_dz)
    return (gap.mean, gap.low, gap.high, gap.n, gap.n_undefined, *tests)
