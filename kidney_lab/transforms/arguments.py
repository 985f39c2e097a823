"""Checks of the numbers that transforms are configured with."""

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from kidney_lab.errors import InputError
from kidney_lab.transforms.resampling import Mode

PerAxis = float | Sequence[float]
"""One number for every axis, or three in the order (D, H, W)."""


def share(name: str, value: float, *, group: str = "augment") -> float:
    """Returns a probability or share.

    Args:
        name: of the argument.
        value: of it.
        group: of settings that it belongs to.

    Raises:
        InputError: if it is no number from 0 to 1.
    """
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InputError(f"{group}: {name}={value} is no share: write a number from 0 to 1.")
    return value


def per_axis(name: str, value: PerAxis) -> NDArray[np.float64]:
    """Returns three numbers, for the axes D, H and W.

    Raises:
        InputError: if there are others than one or three, or a negative one.
    """
    values = _array(value)
    if values.shape not in ((), (3,)) or not np.all(values >= 0):
        raise InputError(f"augment: {name}={value} must be a number from 0 on, or three in the order (D, H, W).")
    return np.broadcast_to(values, 3)


def factors(name: str, value: Sequence[float] | Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Returns three pairs (smallest, largest), for the axes D, H and W.

    Raises:
        InputError: if a pair is in the wrong order or not over 0.
    """
    values = _array(value)
    if values.shape not in ((2,), (3, 2)) or not np.all((values[..., 0] > 0) & (values[..., 0] <= values[..., 1])):
        raise InputError(
            f"augment: {name}={value} must be (smallest, largest), both over 0, or three such pairs in the order "
            "(D, H, W)."
        )
    return np.broadcast_to(values, (3, 2))


def modes(value: Mode | Sequence[Mode], n_keys: int) -> tuple[Mode, ...]:
    """Returns one interpolation mode for every key.

    Raises:
        InputError: if a mode is unknown or their number is another.
    """
    several = isinstance(value, Sequence) and not isinstance(value, str)
    chosen: tuple[Any, ...] = tuple(value) if several else (value,) * n_keys
    if len(chosen) != n_keys or any(mode not in get_args(Mode) for mode in chosen):
        raise InputError(f"augment: mode={value} must be one of {', '.join(get_args(Mode))} for each of {n_keys} keys.")
    return chosen


def _array(value: Any) -> NDArray[np.float64]:
    """Numbers as an array; an empty one where they are none, which has no shape that is allowed."""
    try:
        return np.asarray(value, float)
    except (TypeError, ValueError):
        return np.empty(0)
