"""An even sample of pixels inside regions of interest, taken while cases come one after another.

Xue et al., "ERNet", Traitement du Signal 42(4), 2025, fit Algorithm 3 to all pixels of the training RoIs and say
nothing of memory. Here at most `max_pixels` of a class are sampled, as many positive as negative ones, and as many of
every case as of any other, as far as it has them.

Every pixel draws a random key, and of every case those with the smallest keys stay (bottom-k sampling: Cohen and
Kaplan, "Summarizing data using bottom-k sketches", PODC 2007, doi:10.1145/1281100.1281133): a uniform sample whose size
can shrink later, when more cases are known. The sample depends on the seed, the names of the cases and their pixels
alone, not on the order of the cases, nor on the pieces that a case comes in.
"""

from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kidney_lab.errors import InputError


class RoiPixels(NamedTuple):
    """Pixels inside regions of interest of one class, on any device.

    Args:
        probability: `(n,)`, of the class, 0 to 1.
        heat: `(n,)`, Seg-Grad-CAM's, 0 to 1.
        image: `(n,)`, grey values of the network's input.
        label: `(n,)`, whether the reference holds the class there: bool, or 0 and 1.
    """

    probability: Tensor
    heat: Tensor
    image: Tensor
    label: Tensor


class PixelReservoir:
    """Takes the pixels of one class and keeps an even sample of them.

    It holds at most twice `max_pixels` pixels of 20 bytes, and what is being added.

    Args:
        max_pixels: of the sample, positive and negative ones together; at least 2.
        seed: of the sample.

    Raises:
        InputError: there is no room for a pixel of either kind.
    """

    def __init__(self, max_pixels: int = 2_000_000, *, seed: int = 0) -> None:
        if max_pixels < 2:
            raise InputError(f"model.refit.max_pixels={max_pixels} is too small: give 2 or more, such as 2000000.")
        self._seed = seed
        self._rngs: dict[str, np.random.Generator] = {}
        self._negative, self._positive = _Stratum(max_pixels // 2), _Stratum(max_pixels // 2)

    def add(self, case: str, pixels: RoiPixels) -> None:
        """Adds pixels of a case; its slices may come one by one.

        Args:
            case: id; gives the pixels their random keys, together with the seed.
            pixels: of this case that were not added before.
        """
        if case not in self._rngs:
            self._rngs[case] = np.random.default_rng([self._seed, crc32(case.encode())])
        columns = [column.detach().float().cpu().numpy() for column in (pixels.probability, pixels.heat, pixels.image)]
        values = np.stack(columns, axis=1)
        positive = pixels.label.detach().cpu().numpy().astype(bool)
        keys = self._rngs[case].random(len(values))
        self._negative.add(case, keys[~positive], values[~positive])
        self._positive.add(case, keys[positive], values[positive])

    def sample(self) -> RoiPixels:
        """The sample so far: on the CPU, float32 and bool, as many positive pixels as negative ones.

        Returns:
            Negative pixels first, then positive ones; empty where all pixels are of one kind.
        """
        size = min(self._negative.available, self._positive.available)
        parts = [stratum.sample(size) for stratum in (self._negative, self._positive)]
        probability, heat, image = torch.from_numpy(np.concatenate(parts)).unbind(dim=1)
        return RoiPixels(probability, heat, image, torch.arange(2 * size) >= size)


class _Stratum:
    """Pixels of one kind: of every case those with the smallest keys."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._most = budget  # that a case may still contribute; never grows
        self._seen: dict[str, int] = {}
        self._kept: dict[str, tuple[NDArray[np.float64], NDArray[np.float32]]] = {}

    @property
    def available(self) -> int:
        """Pixels that a sample can have."""
        return min(self._budget, sum(self._seen.values()))

    def add(self, case: str, keys: NDArray[np.float64], values: NDArray[np.float32]) -> None:
        self._seen[case] = self._seen.get(case, 0) + len(keys)
        if case in self._kept:
            earlier_keys, earlier_values = self._kept[case]
            keys, values = np.concatenate([earlier_keys, keys]), np.concatenate([earlier_values, values])
        self._kept[case] = _smallest(keys, values, self._most)
        if sum(len(keys) for keys, _ in self._kept.values()) > 2 * self._budget:
            self._most = max(even_quotas(list(self._seen.values()), self._budget))
            self._kept = {name: _smallest(*pixels, self._most) for name, pixels in self._kept.items()}

    def sample(self, size: int) -> NDArray[np.float32]:
        """Values `(size, 3)`, by the cases' names and within a case by key."""
        cases = sorted(self._seen)
        parts = [np.empty((0, 3), np.float32)]
        for case, quota in zip(cases, even_quotas([self._seen[case] for case in cases], size), strict=True):
            keys, values = self._kept[case]
            parts.append(values[np.argsort(keys)[:quota]])
        return np.concatenate(parts)


def even_quotas(counts: Sequence[int], budget: int) -> list[int]:
    """Shares a budget as evenly as what there is allows: nobody gets more while another could have as much.

    Args:
        counts: what each has.
        budget: to share.

    Returns:
        What each gives; together the budget, or everything where that is less.

    >>> even_quotas([1, 10, 4], 9)
    [1, 4, 4]
    """
    quotas = [0] * len(counts)
    for position, index in enumerate(sorted(range(len(counts)), key=lambda index: counts[index])):
        quotas[index] = min(counts[index], budget // (len(counts) - position))
        budget -= quotas[index]
    return quotas


def _smallest(
    keys: NDArray[np.float64], values: NDArray[np.float32], count: int
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """The pixels with the smallest keys, in any order."""
    if len(keys) <= count:
        return keys, values
    chosen = np.argpartition(keys, count)[:count]
    return keys[chosen], values[chosen]
