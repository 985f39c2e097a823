"""How far the members of an ensemble differ on a region, voxel by voxel.

Deep ensembles: B. Lakshminarayanan, A. Pritzel, C. Blundell, "Simple and scalable predictive uncertainty estimation
using deep ensembles", NeurIPS 2017. Of the probabilities `p_m` that members of weight `w_m` give a region:

* variance `sum_m w_m (p_m - p)^2 / sum_m w_m` about their mean `p`, 0 to 0.25; 0 where all members agree.
* predictive entropy `-p ln p - (1 - p) ln (1 - p)` in nats, 0 to ln 2; it is high where the members differ, and also
  where all of them doubt.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kidney_lab.data.body import Box
from kidney_lab.inference.fusion import Fused, weighted_mean
from kidney_lab.inference.restore import slabs_of
from kidney_lab.inference.slabs import hull_of

VARIANCE_STEP, ENTROPY_STEP = 0.25 / 255, math.log(2) / 255
"""What one step of the maps stands for: their largest value is 255 steps."""

UNCERTAIN_NATS = math.log(2) / 2
"""Predictive entropy above which a voxel counts as uncertain: that of a probability between 0.11 and 0.89."""


@dataclass(frozen=True, eq=False)
class Spread:
    """How far members differ on one region; `(D, H, W)` on the scan's grid in memory order, 4 bytes a voxel in all.

    Args:
        mean: float16, mean probability.
        variance: uint8, in steps of `VARIANCE_STEP`.
        entropy: uint8, in steps of `ENTROPY_STEP`.
        summary: `variance_in_region` and `entropy_in_region`, means over the voxels that are called the region, NaN
            without any; `variance_in_body` and `entropy_in_body`, means over the box about the body.
        uncertain: number of voxels of an entropy above `UNCERTAIN_NATS`.
    """

    mean: NDArray[np.float16]
    variance: NDArray[np.uint8]
    entropy: NDArray[np.uint8]
    summary: dict[str, float]
    uncertain: int


def measure_spread(fused: Fused, region: str, *, predicted: NDArray[np.bool_], body: Box) -> Spread:
    """Compares what the members of an ensemble say of one region, a slab of slices at a time.

    Args:
        fused: what they say of a scan.
        region: its name.
        predicted: `(D, H, W)`, where the result is the region.
        body: the box about the patient.

    Returns:
        Maps and their summary, made of exact values.
    """
    shape, (slices, rows, columns) = fused.shape, fused.box
    mean, variance, entropy = np.zeros(shape, np.float16), np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    inside, everywhere, uncertain = np.zeros(2), np.zeros(2), 0
    for part in slabs_of(slices):
        p, spread = mean_and_variance(*fused.by_member(region, part))
        both = torch.stack([spread, predictive_entropy(p)])
        mask = torch.from_numpy(predicted[part, rows, columns]).to(both.device)
        inside += both[:, mask].sum(dim=1, dtype=torch.float64).cpu().numpy()
        everywhere += both.sum(dim=(1, 2, 3), dtype=torch.float64).cpu().numpy()
        uncertain += int((both[1] > UNCERTAIN_NATS).sum())
        mean[part, rows, columns] = p.cpu().numpy()
        for steps, size, values in zip((variance, entropy), (VARIANCE_STEP, ENTROPY_STEP), both, strict=True):
            steps[part, rows, columns] = (values / size).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
    called = int(predicted.sum())
    of_region = inside / called if called else np.full(2, np.nan)
    of_body = everywhere / math.prod(axis.stop - axis.start for axis in hull_of([body, fused.box]))
    names = ("variance_in_region", "entropy_in_region", "variance_in_body", "entropy_in_body")
    summary = dict(zip(names, map(float, (*of_region, *of_body)), strict=True))
    return Spread(mean, variance, entropy, summary, uncertain)


def mean_and_variance(told: Sequence[Tensor], weights: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Mean and variance over members, each by its weight.

    Args:
        told: probabilities of each member, of one shape.
        weights: of the members.

    Returns:
        Both of that shape; the variance of members that agree is 0, not nearly so.
    """
    shares = [torch.tensor([weight]) for weight in weights]
    mean = weighted_mean((p[None] for p in told), shares)
    return mean[0], weighted_mean(((p[None] - mean).square() for p in told), shares)[0]


def predictive_entropy(p: Tensor) -> Tensor:
    """Entropy in nats of whether a voxel lies in a region of probability `p`, 0 to ln 2.

    >>> predictive_entropy(torch.tensor([0.0, 0.5, 1.0]))
    tensor([0.0000, 0.6931, 0.0000])
    """
    p = p.clamp(0, 1)
    entropy: Tensor = torch.special.entr(p) + torch.special.entr(1 - p)
    return entropy
