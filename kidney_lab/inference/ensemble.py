"""Ensembles: members that are whole segmentations of their own decide together.

Nagarajan and Ramprasath, "Ensemble transfer learning CNN", IJETT 72(9), 2024. Its Eq. 2 averages the members' masks
(`average_of_masks`), its section 4 their predictions (`mean`), and in its Fig. 5 their majority decides (`majority`).
The paper leaves open what a tie is: here a majority's is background, and Eq. 2's, a mean of 0.5, is the region.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from kidney_lab.errors import InputError
from kidney_lab.inference.fusion import Fused, TieTaking, same_channels
from kidney_lab.inference.member_weights import Dice, Weights, check_weights, choose_weights
from kidney_lab.inference.slabs import Slabs
from kidney_lab.labels import LABELS, REGIONS
from kidney_lab.methods.output import Output, RegionOutput

Combine = Literal["mean", "majority", "average_of_masks"]


@dataclass(frozen=True)
class Ensemble:
    """All members decide together, each by its weight.

    Members whose channels mean the same are averaged channel by channel and decided on as each of them is. Others are
    averaged as regions: each region over the members that know it, then decided on from the outermost inward, over 0.5.
    A single member is its own ensemble, bit for bit.

    Args:
        combine: `mean` (of probabilities), `majority` (a region is where the members whose label maps hold it have more
            than half of the weight) or `average_of_masks` (half of it, or more).
        weights: of the members, see `choose_weights`; a member of weight 0 takes no part.
        uncertainty: whether the test phase tells how far the members differ, see `kidney_lab.inference.uncertainty`.

    Raises:
        InputError: there is no such combination, no such weights, or the switch is neither true nor false.
    """

    combine: Combine = "mean"
    weights: Weights = "equal"
    uncertainty: bool = False

    def __post_init__(self) -> None:
        if self.combine not in get_args(Combine):
            raise InputError(f"model.combine={self.combine} is unknown: choose one of {', '.join(get_args(Combine))}.")
        if not isinstance(self.uncertainty, bool):
            raise InputError(f"model.uncertainty={self.uncertainty} is no switch: give true or false.")
        check_weights(self.weights)

    def check(self, members: Sequence[str]) -> None:
        """Makes sure that there are members to fuse, a weight for each, and two of them where they are compared.

        Raises:
            InputError: there are not.
        """
        if not members:
            raise InputError(
                "The ensemble has no member: name encoders in model.members, or finished runs in model.member_runs."
            )
        asked = self.asks(members)
        if self.uncertainty and len(asked) == 1:
            raise InputError(
                f"model.uncertainty=true compares members, and the ensemble has a single one ({asked[0]}): name more, "
                "or leave it out."
            )

    def weighed(self, members: Sequence[str], dice: Callable[[], Dice]) -> "Ensemble":
        """The same with a number for each member.

        Args:
            members: their names.
            dice: tells the validation Dice of each, and is asked where that is the weight.

        Raises:
            InputError: there is no weight for one of them.
        """
        return replace(self, weights=choose_weights(self.weights, members, dice))

    def asks(self, members: Sequence[str]) -> Sequence[str]:
        """All that have a weight."""
        return [name for name, weight in self._numbers(members).items() if weight > 0]

    def output(self, outputs: Mapping[str, Output]) -> Output:
        """That of the members, where it is the same; else a channel for every region that one of them knows.

        Raises:
            InputError: the regions are not nested.
        """
        first, *others = (outputs[name] for name in self.asks(list(outputs)))
        if not others or (self.combine == "mean" and all(same_channels(first, other) for other in others)):
            return first
        known = {region for output in (first, *others) for region in output.regions}
        kind = TieTaking if self.combine == "average_of_masks" else RegionOutput
        return kind(list(LABELS), [region for region in REGIONS if region in known])

    def __call__(self, members: Mapping[str, Slabs]) -> Slabs:
        """What all say together."""
        numbers = self._numbers(list(members))
        asked = [members[name] for name in self.asks(list(members))]
        if len(asked) == 1:
            return asked[0]
        output = self.output({name: said.output for name, said in members.items()})
        weights = [weight for weight in numbers.values() if weight > 0]
        return Fused(asked, weights, output, votes=self.combine != "mean")

    def _numbers(self, members: Sequence[str]) -> dict[str, float]:
        """The weight of every member; all count alike until they are weighed by their Dice."""
        weights = "equal" if self.weights == "validation_dice" else self.weights
        return dict(zip(members, choose_weights(weights, members, dict), strict=True))
