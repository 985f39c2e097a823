"""Statistics of the foreground's Hounsfield units over training cases: what images are clipped to and normalised by.

nnU-Net's scheme for CT (Isensee et al., Nature Methods 18, 2021, doi:10.1038/s41592-020-01008-z, Methods), which the
thesis of Hao (Melbourne 2024, section 3.1) takes over: clip to the 0.5 and 99.5 percentile of all labelled voxels of
the training cases, subtract their mean, divide by their standard deviation. nnU-Net samples voxels; here every voxel
counts, by the histograms that the store keeps of each case.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kidney_lab.data.store import Store
from kidney_lab.errors import InputError
from kidney_lab.files import write_text

Pair = tuple[float, float]


@dataclass(frozen=True)
class IntensityStatistics:
    """What images are normalised by.

    Args:
        lower: HU that lower ones are raised to.
        upper: HU that higher ones are lowered to.
        mean: HU that is subtracted.
        std: HU that is divided by, above 0.
        n: voxels that they were computed from.
    """

    lower: float
    upper: float
    mean: float
    std: float
    n: int


def foreground_statistics(
    store: Store, cases: Sequence[str], *, percentiles: Pair | None = None, window: Pair | None = None
) -> IntensityStatistics:
    """Statistics over all labelled voxels of some cases, exact; kept in the store for the next time.

    Args:
        store: whose cases' histograms are read.
        cases: ids, usually the training split's.
        percentiles: 0 to 100, that `lower` and `upper` are; mean and deviation are those of the voxels as they are.
        window: HU, that `lower` and `upper` are; mean and deviation are those of the voxels clipped to it.

    Returns:
        The statistics; the order of the cases does not matter.

    Raises:
        InputError: no case has a labelled voxel, or all have the same value.
        ValueError: not exactly one of `percentiles` and `window` is given.
    """
    if (percentiles is None) == (window is None):
        raise ValueError("Exactly one of percentiles and window must be given.")
    kept = store.path / f"intensities-{_key(store, cases, percentiles, window)}.json"
    found = read_statistics(kept)
    if found is not None:
        return found
    values, counts = _merged([store[name].histogram for name in sorted(cases)])
    if not len(values):
        raise InputError(
            f"None of the {len(cases)} training cases has labels, so that intensities cannot be normalised by their "
            "foreground: choose another intensity= or other cases."
        )
    statistics = histogram_statistics(values, counts, percentiles=percentiles, window=window)
    if statistics.std <= 0:
        raise InputError(
            f"All labelled voxels of the training cases have the same value, {statistics.mean:g} HU, so that "
            "intensities cannot be divided by their deviation: choose another intensity=."
        )
    chosen = {"cases": sorted(cases), "percentiles": percentiles, "window": window}
    with suppress(OSError):  # a store that may only be read, or a full disk: they are computed anew each time
        write_statistics(kept, statistics, **chosen)
    return statistics


def histogram_statistics(
    values: NDArray[np.integer], counts: NDArray[np.integer], *, percentiles: Pair | None, window: Pair | None
) -> IntensityStatistics:
    """Statistics of the voxels that a histogram stands for, see `foreground_statistics`.

    Args:
        values: HU, sorted, each once.
        counts: voxels of each value, above 0.
        percentiles: 0 to 100, or None.
        window: HU, or None.

    Returns:
        The statistics, in float64; the deviation is that of the population, as numpy's.
    """
    n = int(counts.sum())
    seen = values.astype(np.float64)
    if window is not None:
        lower, upper = window
        seen = seen.clip(lower, upper)
    elif percentiles is not None:
        lower, upper = (_percentile(values, counts, q) for q in percentiles)
    mean = float((seen * counts).sum() / n)
    std = float(np.sqrt(((seen - mean) ** 2 * counts).sum() / n))
    return IntensityStatistics(lower=float(lower), upper=float(upper), mean=mean, std=std, n=n)


def write_statistics(path: Path, statistics: IntensityStatistics, **context: object) -> None:
    """Writes statistics as JSON, with whatever else a reader wants to know."""
    write_text(path, json.dumps({**asdict(statistics), **context}, indent=2) + "\n")


def read_statistics(path: Path) -> IntensityStatistics | None:
    """Statistics as they were written; None where there are none, or none that can be read."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return IntensityStatistics(**{name: stored[name] for name in ("lower", "upper", "mean", "std", "n")})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _percentile(values: NDArray[np.integer], counts: NDArray[np.integer], q: float) -> float:
    """What `numpy.percentile` gives for the voxels, by linear interpolation between neighbours."""
    below = np.cumsum(counts)
    position = q / 100 * (below[-1] - 1)
    low, high = (
        float(values[np.searchsorted(below, place, side="right")]) for place in (np.floor(position), np.ceil(position))
    )
    return low + (high - low) * float(position % 1)


def _merged(
    histograms: Sequence[tuple[NDArray[np.int16], NDArray[np.int64]]],
) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """One histogram of several: values sorted, each once."""
    values, places = np.unique(np.concatenate([values for values, _ in histograms]), return_inverse=True)
    counts = np.zeros(len(values), np.int64)
    np.add.at(counts, places, np.concatenate([counts for _, counts in histograms]))
    return values, counts


def _key(store: Store, cases: Sequence[str], percentiles: Pair | None, window: Pair | None) -> str:
    """Names the cases, by what they were made of, and the clipping: a case that is made anew changes it."""
    made_of = [(name, (store[name].path / "case.json").read_text(encoding="utf-8")) for name in sorted(cases)]
    asked = [list(pair) if pair is not None else None for pair in (percentiles, window)]
    return hashlib.sha256(json.dumps([made_of, asked]).encode()).hexdigest()[:12]
