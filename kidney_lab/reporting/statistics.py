"""How sure a mean over cases is: bootstrap confidence intervals."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import DegenerateDataWarning, bootstrap


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval.

    Args:
        mean: over the defined values; NaN without any.
        low: lower end; NaN with fewer than two values.
        high: upper end; NaN with fewer than two values.
        n: number of defined values.
        n_undefined: number of values left out.
    """

    mean: float
    low: float
    high: float
    n: int
    n_undefined: int


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
        The mean with its interval; with fewer than two defined values the interval is undefined.
    """
    everything = np.asarray(values, dtype=float)
    defined = everything[~np.isnan(everything)]
    n, n_undefined = len(defined), len(everything) - len(defined)
    if n < 2:
        return Interval(float(defined[0]) if n else np.nan, np.nan, np.nan, n, n_undefined)
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):  # answered by the next method
            warnings.simplefilter("ignore", DegenerateDataWarning)
            low, high = bootstrap(
                (defined,),
                np.mean,
                confidence_level=confidence,
                n_resamples=n_resamples,
                batch=1000,
                method=method,
                rng=np.random.default_rng(seed),
            ).confidence_interval
        if not np.isnan([low, high]).any():
            break
    return Interval(float(defined.mean()), float(low), float(high), n, n_undefined)
