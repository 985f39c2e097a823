"""What several members say of one scan, fused slab by slab on the scan's own grid.

Whatever grids the members work on, they meet on that of the scan. Beside what each of them predicts on its own grid,
three slabs of slices are held: the member's at hand, the first one's, and the sum.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from kidney_lab.data.body import Box
from kidney_lab.geometry import Triple
from kidney_lab.inference.slabs import Slabs, distribution, hull_of, region_probability, slab_in
from kidney_lab.methods.output import LabelOutput, Output, RegionOutput, region_mask


class TieTaking(RegionOutput):
    """Regions that hold a voxel of which just half is said: Eq. 2's mean of masks from 0.5 on."""

    def decide(self, probabilities: Tensor) -> Tensor:
        """Paints the regions from the outermost to the innermost where they are as probable as not, or more so."""
        return super().decide(torch.where(probabilities == 0.5, 1.0, probabilities))


@dataclass(frozen=True, eq=False)
class Fused:
    """What members say together, by `kidney_lab.inference.ensemble.Ensemble`.

    Args:
        members: at least one.
        weights: of the members, above 0.
        output: meaning of the channels of the result: the members' own, or regions.
        votes: whether label maps are averaged, region by region, instead of probabilities.
    """

    members: Sequence[Slabs]
    weights: Sequence[float]
    output: Output
    votes: bool

    @property
    def shape(self) -> Triple:
        """Shape of the scan's grid, `(D, H, W)`."""
        return self.members[0].shape

    @cached_property
    def box(self) -> Box:
        """The smallest one that holds all members'."""
        return hull_of([member.box for member in self.members])

    def slab(self, part: slice) -> Tensor:
        """Mean probabilities `(C, slices, h, w)`, or shares of the vote."""
        weights = [self._weight(member, weight) for member, weight in zip(self.members, self.weights, strict=True)]
        return weighted_mean((self._told(member, part) for member in self.members), weights)

    def knowing(self, region: str) -> int:
        """How many members know a region."""
        return sum(region in member.output.regions for member in self.members)

    def by_member(self, region: str, part: slice) -> tuple[list[Tensor], list[float]]:
        """Probability of a region by each member that knows it, `(slices, h, w)`, and the weights of these members."""
        told, weights = [], []
        for member, weight in zip(self.members, self.weights, strict=True):
            if region in member.output.regions:
                told.append(region_probability(slab_in(member, self.box, part), member.output, region))
                weights.append(weight)
        return told, weights

    @cached_property
    def _alike(self) -> bool:
        return not self.votes and all(same_channels(member.output, self.output) for member in self.members)

    def _told(self, member: Slabs, part: slice) -> Tensor:
        """What one member says in the channels of the result; 0 in regions that it does not know."""
        slab = slab_in(member, self.box, part)
        if self._alike:
            return with_background(distribution(slab, self.output)) if isinstance(self.output, LabelOutput) else slab
        if self.votes:
            tell = partial(region_mask, member.output.decide(slab))
        else:
            tell = partial(region_probability, slab, member.output)
        told = slab.new_zeros((len(self.output.regions), *slab.shape[1:]))
        for channel, region in enumerate(self.output.regions):
            if region in member.output.regions:
                told[channel] = tell(region)
        return told

    def _weight(self, member: Slabs, weight: float) -> Tensor:
        """Weight of a member in every channel; 0 in regions that it does not know."""
        if self._alike:
            return torch.full((self.output.channels,), weight)
        return torch.tensor([weight * (region in member.output.regions) for region in self.output.regions])


def weighted_mean(values: Iterable[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """Mean of tensors, channel by channel: `x_1 + sum_i w_i (x_i - x_1) / sum_i w_i`.

    Measured from the first, the mean of one tensor, or of tensors that are all alike, is that very tensor, and half of
    some equal votes is 0.5 and not nearly so.

    Args:
        values: `(C, ...)` each, 0 in channels where the weight is 0; taken one after another.
        weights: `(C,)` each; one of them is above 0 in every channel.

    Returns:
        `(C, ...)`.
    """
    pairs = zip(values, weights, strict=True)
    first, _ = next(pairs)
    added = torch.zeros_like(first)
    for value, weight in pairs:
        added += (value - first) * _along(weight, value)
    return first + added / _along(torch.stack(list(weights)).sum(dim=0), added)


def with_background(slab: Tensor) -> Tensor:
    """Probabilities `(C, ...)` of a softmax whose background, channel 0, is sure where no channel says anything."""
    silent = (slab == 0).all(dim=0)
    return torch.cat([slab[:1] + silent, slab[1:]]) if bool(silent.any()) else slab


def same_channels(one: Output, other: Output) -> bool:
    """Whether the channels of two outputs mean the same, and are decided on alike."""
    if type(one) is not type(other):
        return False
    return one.labels == other.labels if isinstance(one, LabelOutput) else one.regions == other.regions


def _along(weight: Tensor, value: Tensor) -> Tensor:
    """Weights `(C,)` as they multiply values `(C, ...)`."""
    return weight.to(value).view(-1, *[1] * (value.ndim - 1))
