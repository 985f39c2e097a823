"""How sure a mean over cases, or a pooled score, is: bootstrap confidence intervals."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import DegenerateDataWarning, bootstrap

from kidney_lab.metrics.pooled import of_counts

MIN_CASES: Final = 5
"""Cases from which on there is an interval: one called 95 % holds the true mean in half of all samples of 2 cases, in
three quarters of those of 3, and in four fifths of those of 5."""

FROM: Final = f"from {MIN_CASES} cases on"
"""Says so in captions."""


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval.

    Args:
        mean: over the defined values; NaN without any.
        low: lower end; NaN with fewer than `MIN_CASES` values.
        high: upper end; NaN with fewer than `MIN_CASES` values.
        n: number of defined values.
        n_undefined: number of values left out.
        median: of the defined values; NaN without any, and where none is asked for.
    """

    mean: float
    low: float
    high: float
    n: int
    n_undefined: int
    median: float = np.nan


def bootstrap_interval(
    values: Sequence[float] | NDArray[Any],
    *,
    confidence: float = 0.95,
    n_resamples: int = 9999,
    seed: int = 0,
) -> Interval:
    """Confidence interval of the mean over cases, by resampling the cases.

    Bias-corrected and accelerated (BCa; B. Efron, "Better bootstrap confidence intervals", JASA 1987,
    doi:10.1080/01621459.1987.10478410), and the percentile interval where BCa is undefined, as for equal values.

    Args:
        values: one per case; NaN is undefined and left out.
        confidence: of the interval, between 0 and 1.
        n_resamples: how often the cases are drawn again.
        seed: of the draws; the same values give the same interval.

    Returns:
        The mean with its interval; with fewer than `MIN_CASES` defined values the interval is undefined.
    """
    everything = np.asarray(values, dtype=float)
    defined = everything[~np.isnan(everything)]
    n, n_undefined = len(defined), len(everything) - len(defined)
    if n < MIN_CASES:
        mean, median = (float(defined.mean()), float(np.median(defined))) if n else (np.nan, np.nan)
        return Interval(mean, np.nan, np.nan, n, n_undefined, median)
    low, high = _limits(defined, np.mean, confidence=confidence, n_resamples=n_resamples, seed=seed)
    return Interval(float(defined.mean()), low, high, n, n_undefined, float(np.median(defined)))


def pooled_interval(
    counts: NDArray[Any], metric: str, *, confidence: float = 0.95, n_resamples: int = 9999, seed: int = 0
) -> Interval:
    """A score of the voxels of all cases, with its confidence interval by resampling the cases, as above.

    Args:
        counts: `(cases, 4)`, the columns `kidney_lab.metrics.scoring.COUNTS`.
        metric: name of one that is made of counts.
        confidence: of the interval, between 0 and 1.
        n_resamples: how often the cases are drawn again.
        seed: of the draws; the same counts give the same interval.

    Returns:
        The pooled score in the place of a mean; `n` is the number of cases, all of which take part. With fewer than
        `MIN_CASES` the interval is undefined.
    """

    def of_cases(drawn: NDArray[Any], axis: int) -> NDArray[Any]:
        return of_counts(counts[np.moveaxis(drawn, axis, -1).astype(int)].sum(axis=-2), metric)

    value, n = float(of_counts(counts.sum(axis=0), metric)), len(counts)
    if n < MIN_CASES or np.isnan(value):
        return Interval(value, np.nan, np.nan, n, 0)
    low, high = _limits(np.arange(n), of_cases, confidence=confidence, n_resamples=n_resamples, seed=seed)
    return Interval(value, low, high, n, 0)


def _limits(
    sample: NDArray[Any], statistic: Callable[..., Any], *, confidence: float, n_resamples: int, seed: int
) -> tuple[float, float]:
    """Ends of the BCa interval, of the percentile interval where that is undefined."""
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):  # answered by the next method
            warnings.simplefilter("ignore", DegenerateDataWarning)
            low, high = bootstrap(
                (sample,),
                statistic,
                confidence_level=confidence,
                n_resamples=n_resamples,
                batch=1000,
                method=method,
                rng=np.random.default_rng(seed),
            ).confidence_interval
        if not np.isnan([low, high]).any():
            break
    return float(low), float(high)
