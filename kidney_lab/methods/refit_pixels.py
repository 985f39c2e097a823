"""A sample of pixels inside regions of interest, even over cases, taken while cases come one after another.

Xue et al., "ERNet", Traitement du Signal 42(4), 2025, fit Algorithm 3 to all pixels of the training RoIs and say
nothing of memory. Here at most `max_pixels` of a class are sampled, as many of every case as of any other, as far as it
has them. Within a case the share of positive pixels stays what it is: with as many positive as negative ones, the
output would be 0.5 not where both are equally likely, but where the share in the RoIs is reached (some 70 % for
kidneys), and masks would shrink.

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
    """Takes the pixels of one class and keeps a sample of them: of every case those with the smallest keys.

    It holds at most twice `max_pixels` pixels of 24 bytes, and what is being added.

    Args:
        max_pixels: of the sample, positive and negative ones together; at least 2.
        seed: of the sample.

    Raises:
        InputError: there is no room for a pixel of either kind.
    """

    def __init__(self, max_pixels: int = 2_000_000, *, seed: int = 0) -> None:
        if max_pixels < 2:
            raise InputError(f"model.refit.max_pixels={max_pixels} is too small: give 2 or more, such as 2000000.")
        self._budget = max_pixels
        self._seed = seed
        self._rngs: dict[str, np.random.Generator] = {}
        self._most = max_pixels  # that a case may still contribute; never grows
        self._seen: dict[str, int] = {}
        self._kept: dict[str, tuple[NDArray[np.float64], NDArray[np.float32]]] = {}

    def add(self, case: str, pixels: RoiPixels) -> None:
        """Adds pixels of a case; its slices may come one by one.

        Args:
            case: id; gives the pixels their random keys, together with the seed.
            pixels: of this case that were not added before.
        """
        if case not in self._rngs:
            self._rngs[case] = np.random.default_rng([self._seed, crc32(case.encode())])
        values = np.stack([column.detach().float().cpu().numpy() for column in pixels], axis=1)
        keys = self._rngs[case].random(len(values))
        self._seen[case] = self._seen.get(case, 0) + len(keys)
        if case in self._kept:
            earlier_keys, earlier_values = self._kept[case]
            keys, values = np.concatenate([earlier_keys, keys]), np.concatenate([earlier_values, values])
        self._kept[case] = _smallest(keys, values, self._most)
        if sum(len(keys) for keys, _ in self._kept.values()) > 2 * self._budget:
            self._most = max(even_quotas(list(self._seen.values()), self._budget))
            self._kept = {name: _smallest(*pixels, self._most) for name, pixels in self._kept.items()}

    def sample(self) -> RoiPixels:
        """The sample so far: on the CPU, float32 and bool, by the cases' names and within a case by key."""
        cases = sorted(self._seen)
        parts = [np.empty((0, len(RoiPixels._fields)), np.float32)]
        for case, quota in zip(cases, even_quotas([self._seen[case] for case in cases], self._budget), strict=True):
            keys, values = self._kept[case]
            parts.append(values[np.argsort(keys)[:quota]])
        probability, heat, image, label = torch.from_numpy(np.concatenate(parts)).unbind(dim=1)
        return RoiPixels(probability, heat, image, label.bool())


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
