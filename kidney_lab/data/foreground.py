"""Where the labels of a case are: found once, when the case is prepared, so that samples can be drawn without decoding.

Samples of every label's voxels place patches, lists of slices choose axial ones, the box places regions of interest,
and the histogram gives the statistics that intensities are normalised by.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kidney_lab.data.body import Box

FOREGROUND_SAMPLES = 10_000
_OFFSET = 1 << 15  # makes any int16 an index


@dataclass(frozen=True, eq=False)
class Foreground:
    """Where the labels of a case are.

    Args:
        samples: by label value, `(n, 3)` int32 coordinates (d, h, w), sorted; at most `FOREGROUND_SAMPLES`.
        slices: by label value, `(n,)` int32 axial slices that hold it, sorted.
        box: smallest box that holds every labelled voxel, or None.
        values: `(n,)` int16 Hounsfield units of labelled voxels, each once, sorted.
        counts: `(n,)` int64 voxels that have each value.
    """

    samples: Mapping[int, NDArray[np.int32]]
    slices: Mapping[int, NDArray[np.int32]]
    box: Box | None
    values: NDArray[np.int16]
    counts: NDArray[np.int64]


def find_foreground(image: NDArray[np.int16], label: NDArray[np.uint8] | None, seed: int) -> Foreground:
    """Finds where the labels are.

    Args:
        image: `(D, H, W)`, HU.
        label: `(D, H, W)`, or None where there is no reference.
        seed: of the samples; the same seed gives the same voxels.

    Returns:
        The foreground; empty without a label.
    """
    box = None if label is None else foreground_box(label)
    if label is None or box is None:
        return Foreground({}, {}, None, np.empty(0, np.int16), np.empty(0, np.int64))
    inside = label[box]
    corner = np.array([s.start for s in box])
    flat = np.ravel(inside)  # a copy of the box alone
    foreground = np.flatnonzero(flat)
    labels = flat[foreground]
    samples, slices = {}, {}
    rng = np.random.default_rng(seed)
    for value in np.flatnonzero(np.bincount(labels)).tolist():
        voxels = foreground[labels == value]
        slices[value] = (np.unique(voxels // (inside.shape[1] * inside.shape[2])) + corner[0]).astype(np.int32)
        if len(voxels) > FOREGROUND_SAMPLES:
            voxels = np.sort(rng.choice(voxels, FOREGROUND_SAMPLES, replace=False, shuffle=False))
        samples[value] = (np.stack(np.unravel_index(voxels, inside.shape), axis=1) + corner).astype(np.int32)
    histogram = np.bincount(np.ravel(image[box])[foreground].astype(np.int32) + _OFFSET)
    used = np.flatnonzero(histogram)
    return Foreground(samples, slices, box, (used - _OFFSET).astype(np.int16), histogram[used].astype(np.int64))


def foreground_box(label: NDArray[np.uint8]) -> Box | None:
    """Smallest box that holds every voxel above 0 of a label map `(D, H, W)`; None where there is none."""
    used = np.flatnonzero(label.reshape(len(label), -1).max(axis=1))
    if not len(used):
        return None
    slices = slice(int(used[0]), int(used[-1]) + 1)
    plane = label[slices].max(axis=0)  # ten times as fast as scipy's find_objects
    rows, columns = (np.flatnonzero(plane.max(axis=axis)) for axis in (1, 0))
    return slices, slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def save_foreground(path: Path, foreground: Foreground) -> None:
    """Writes a foreground as `.npz`."""
    box = [] if foreground.box is None else [[s.start, s.stop] for s in foreground.box]
    arrays: dict[str, Any] = {"values": foreground.values, "counts": foreground.counts, "box": np.array(box, np.int64)}
    arrays |= {f"samples_{value}": voxels for value, voxels in foreground.samples.items()}
    arrays |= {f"slices_{value}": slices for value, slices in foreground.slices.items()}
    with path.open("wb") as file:
        np.savez(file, **arrays)


def load_foreground(path: Path) -> Foreground:
    """Reads what `save_foreground` wrote."""
    with np.load(path) as arrays:
        found = {name: arrays[name] for name in arrays.files}
    box = [slice(int(start), int(stop)) for start, stop in found.pop("box")]
    values, counts = found.pop("values"), found.pop("counts")
    by_kind: dict[str, dict[int, NDArray[np.int32]]] = {"samples": {}, "slices": {}}
    for name, array in found.items():
        kind, value = name.split("_")
        by_kind[kind][int(value)] = array
    return Foreground(by_kind["samples"], by_kind["slices"], (box[0], box[1], box[2]) if box else None, values, counts)
