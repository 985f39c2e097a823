"""How much each member of an ensemble counts."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from kidney_lab.errors import InputError
from kidney_lab.numbers import is_number
from kidney_lab.wording import counted

Weights = Literal["equal", "validation_dice"] | Sequence[float]

Dice = Mapping[str, Mapping[str, float]]
"""Mean validation Dice of each region that a member was validated on, by the member's name."""

log = logging.getLogger(__name__)

_CHOICE = "choose equal, validation_dice, or a list of as many numbers as there are members"


def check_weights(weights: object) -> None:
    """Makes sure that weights are named, or are numbers that can be some.

    Raises:
        InputError: they are not.
    """
    if isinstance(weights, str) or not isinstance(weights, Sequence):
        if weights not in ("equal", "validation_dice"):
            raise InputError(f"model.member_weights={weights} is unknown: {_CHOICE}.")
    elif not all(is_number(weight) and weight >= 0 for weight in weights) or not any(weights):
        raise InputError(
            f"model.member_weights={list(weights)} are no weights: give numbers of 0 or more, not all of them 0."
        )


def choose_weights(weights: Weights, members: Sequence[str], dice: Callable[[], Dice]) -> list[float]:
    """The weight of every member.

    Args:
        weights: `equal`; `validation_dice`: the mean of a member's over the regions that all members know; or numbers.
        members: their names; where the Dice of all of them is 0 they count alike.
        dice: tells the members' Dice, and is asked where weights are made of it.

    Returns:
        Numbers of 0 or more, in the members' order.

    Raises:
        InputError: there are more or fewer numbers than members, or the members have no Dice to be weighed by.
    """
    if weights == "equal":
        return [1.0] * len(members)
    if weights != "validation_dice":
        if len(weights) != len(members):
            raise InputError(
                f"model.member_weights={list(weights)} has {counted(len(weights), 'number')} for "
                f"{counted(len(members), 'member')} ({', '.join(members)}): {_CHOICE}."
            )
        return [float(weight) for weight in weights]
    found = dice()
    common = [region for region in found[members[0]] if all(region in found[name] for name in members)]
    if not common:
        raise InputError(
            f"model.member_weights=validation_dice needs a region that every member was validated on, and {members[0]} "
            "shares none with the others: choose equal, or give numbers."
        )
    chosen = [sum(found[name][region] for region in common) / len(common) for name in members]
    if not any(chosen):
        log.warning("The validation Dice of %s is 0 each, so that they count alike.", ", ".join(members))
        return [1.0] * len(members)
    return chosen
