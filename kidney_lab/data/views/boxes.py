"""Boxes of stored arrays: read so that they may reach beyond the volume, and placed by chance."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kidney_lab.data.body import Box
from kidney_lab.data.store import Sliceable, StoredCase
from kidney_lab.data.views.window import Pictured
from kidney_lab.errors import InputError
from kidney_lab.geometry import Triple
from kidney_lab.labels import LABELS

AIR_HU = -1000
"""What lies beyond the border of a volume."""


def read_box(array: Any, corner: Sequence[int], shape: Sequence[int], fill: int) -> NDArray[Any]:
    """Reads a box that may reach beyond a stored array.

    Args:
        array: sliceable, of as many axes as the box; only the box is decoded.
        corner: first voxel of the box, possibly negative.
        shape: of the box.
        fill: value outside the array.

    Returns:
        An array of that shape.
    """
    low = [max(0, c) for c in corner]
    high = [min(n, c + s) for n, c, s in zip(array.shape, corner, shape, strict=True)]
    if any(a >= b for a, b in zip(low, high, strict=True)):
        return np.full(tuple(shape), fill, dtype=array.dtype)
    inside = array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    pad = [(a - c, c + s - b) for a, b, c, s in zip(low, high, corner, shape, strict=True)]
    return np.pad(inside, pad, constant_values=fill) if any(map(any, pad)) else inside


def read_sample(
    case: Pictured, labels: Sequence[Sliceable], corner: Sequence[int], shape: Sequence[int]
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Image `(1, D, H, W)`, HU, and label maps `(L, D, H, W)` of one 3D box; beyond lie air and background."""
    maps = [read_box(label, corner, shape, 0) for label in labels]
    return read_box(case.image, corner, shape, AIR_HU)[None], stacked(maps, shape)


def stacked(maps: Sequence[NDArray[np.uint8]], shape: Sequence[int]) -> NDArray[np.uint8]:
    """Label maps of a shape as one array `(L, *shape)`; there may be none."""
    return np.stack(maps) if maps else np.zeros((0, *shape), np.uint8)


def random_corner(box: Box, size: Sequence[int], rng: np.random.Generator) -> Triple:
    """Places a patch anywhere inside a box; a box smaller than the patch lies anywhere inside it.

    Args:
        box: of the volume.
        size: of the patch.
        rng: to draw from.

    Returns:
        The patch's first voxel `(d, h, w)`.
    """
    start = np.array([s.start for s in box])
    room = np.array([s.stop - s.start for s in box]) - np.asarray(size)
    d, h, w = start + rng.integers(np.minimum(room, 0), np.maximum(room, 0) + 1)
    return int(d), int(h), int(w)


def foreground_corner(
    case: StoredCase,
    size: Sequence[int],
    rng: np.random.Generator,
    *,
    labels: Sequence[int],
    weights: Mapping[str, float] | None,
) -> Triple | None:
    """Centres a patch on a labelled voxel.

    Args:
        case: to draw from.
        size: of the patch.
        rng: to draw from.
        labels: foreground labels that may be centred on.
        weights: how often each label is drawn, by name, among those that the case has; None: evenly.

    Returns:
        The patch's first voxel `(d, h, w)`, or None where the case has none of the labels.
    """
    if weights is not None:
        weight_of = {LABELS[name]: weight for name, weight in weights.items() if weight > 0}
        labels = [label for label in labels if label in weight_of]
    present = [(label, voxels) for label in labels if len(voxels := case.foreground(label))]
    if not present:
        return None
    if weights is None:
        _, voxels = present[rng.integers(len(present))]
    else:
        share = np.array([weight_of[label] for label, _ in present], dtype=np.float64)
        _, voxels = present[rng.choice(len(present), p=share / share.sum())]
    d, h, w = voxels[rng.integers(len(voxels))] - np.asarray(size) // 2
    return int(d), int(h), int(w)


def grow(box: Box, margin_mm: float, spacing: Sequence[float]) -> Box:
    """A box with a margin on every side, in whole voxels that cover it; it may reach beyond the volume."""
    margin = [int(np.ceil(margin_mm / mm)) for mm in spacing]
    d, h, w = (slice(s.start - m, s.stop + m) for s, m in zip(box, margin, strict=True))
    return d, h, w


def check_label_weights(weights: Mapping[str, float] | None) -> None:
    """Refuses weights of unknown labels, negative ones, and weights that leave no label.

    Raises:
        InputError: names what is wrong.
    """
    if weights is None:
        return
    if not isinstance(weights, Mapping):
        raise InputError(
            f"view.label_weights={weights} are no weights by label: give such as {{kidney: 1, tumor: 2}}, or null."
        )
    unknown = [str(name) for name in weights if name not in LABELS]
    if unknown:
        raise InputError(f"view.label_weights holds {', '.join(unknown)}: choose from {', '.join(LABELS)}.")
    numbers = all(isinstance(weight, int | float) and 0 <= weight < np.inf for weight in weights.values())
    if not numbers or not any(weights.values()):
        shown = ", ".join(f"{name}: {weight}" for name, weight in weights.items())
        raise InputError(
            f"view.label_weights={{{shown}}} must be weights of 0 or more, one of them above 0, or null for even "
            "shares."
        )


def check_fraction(name: str, value: float) -> None:
    """Refuses a share that is not from 0 to 1.

    Raises:
        InputError: names the setting.
    """
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InputError(f"view.{name}={value} is no share: give a number from 0 to 1.")


def check_margin(name: str, value: float) -> None:
    """Refuses a margin that is not 0 mm or more.

    Raises:
        InputError: names the setting.
    """
    if not isinstance(value, int | float) or not 0 <= value < np.inf:
        raise InputError(f"view.{name}={value} is no margin: give 0 mm or more.")


def check_count(name: str, value: int, *, smallest: int) -> None:
    """Refuses what is no whole number from `smallest` on.

    Raises:
        InputError: names the setting.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < smallest:
        raise InputError(f"view.{name}={value} is no count: give a whole number of at least {smallest}.")


def check_size(name: str, size: Sequence[int], axes: str) -> None:
    """Refuses a size that is not one whole number above 0 per axis.

    Raises:
        InputError: names the setting.
    """
    wanted = len(axes.split(","))
    several = isinstance(size, Sequence) and not isinstance(size, str)
    if not several or len(size) != wanted or not all(isinstance(n, int | np.integer) and n > 0 for n in size):
        raise InputError(f"view.{name}={size} is no size: give {wanted} whole numbers above 0, ({axes}).")
