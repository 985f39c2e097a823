"""Who drew what: the instances that several annotators delineated in KiTS21 and KiTS23, and label maps made of them.

A case's folder `instances` (KiTS23) or `segmentations` (KiTS21) holds one 0/1 mask per kidney, tumor or cyst and
annotator, such as `tumor_instance-1_annotation-2.nii.gz`. Laying kidneys, cysts and tumors over each other in this
order gives a label map; of the voxelwise majorities it gives the challenge's own `segmentation.nii.gz`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kidney_lab.data.nifti import read_volume
from kidney_lab.errors import InputError
from kidney_lab.geometry import Grid, Volume, reorient
from kidney_lab.labels import LABELS

FOLDERS = ("instances", "segmentations")
_LAYERS = ("kidney", "cyst", "tumor")  # a later one covers those before
_NAME = re.compile(r"(kidney|cyst|tumor)_instance-(\d+)_annotation-(\d+)\.nii\.gz")


@dataclass(frozen=True, order=True)
class Instance:
    """One thing as one annotator drew it.

    Args:
        kind: kidney, cyst or tumor.
        number: of the instance among its kind, from 1.
        annotator: from 1.
        path: its 0/1 mask.
    """

    kind: str
    number: int
    annotator: int
    path: Path


def find_instances(case: Path) -> tuple[Instance, ...]:
    """Finds the instance masks of a case; hidden files, which KiTS23 holds as well, are none.

    Args:
        case: folder `case_XXXXX`.

    Returns:
        Sorted by kind, number and annotator; empty where the case has no such folder.
    """
    files = (path for name in FOLDERS for path in (case / name).glob("[!.]*.nii.gz"))
    named = ((path, _NAME.fullmatch(path.name)) for path in files)
    return tuple(sorted(Instance(m[1], int(m[2]), int(m[3]), path) for path, m in named if m is not None))


def annotators(instances: Iterable[Instance]) -> list[int]:
    """Numbers of the annotators who drew anything, sorted."""
    return sorted({instance.annotator for instance in instances})


def drawn_by(instances: Iterable[Instance], annotator: int) -> list[Instance]:
    """One annotator's instances; what this one did not draw is taken from the first who did.

    Args:
        instances: of a case.
        annotator: whose.

    Returns:
        Every instance of the case once.
    """
    chosen: dict[tuple[str, int], Instance] = {}
    for instance in sorted(instances, key=lambda item: (item.annotator != annotator, item.annotator)):
        chosen.setdefault((instance.kind, instance.number), instance)
    return sorted(chosen.values())


def compose(instances: Iterable[Instance], grid: Grid) -> NDArray[np.uint8]:
    """Lays instances over each other: kidneys, over them cysts, over them tumors.

    Args:
        instances: each of one annotator.
        grid: of the case in memory order; every mask must lie on it.

    Returns:
        Labels `(D, H, W)`.

    Raises:
        InputError: a mask is broken, or of another shape than the case.
    """
    label = np.zeros(grid.shape, np.uint8)
    for instance in sorted(instances, key=lambda item: _LAYERS.index(item.kind)):
        mask = reorient(read_volume(instance.path)).array
        if mask.shape != grid.shape:
            raise InputError(
                f"{instance.path} has shape {mask.shape}, but its case has shape {grid.shape} (D, H, W); "
                "download it again."
            )
        label[mask > 0] = LABELS[instance.kind]
    return label


def annotator_label(instances: Iterable[Instance], annotator: int, grid: Grid) -> Volume:
    """Label map of one annotator, in memory order.

    Args:
        instances: of a case.
        annotator: whose.
        grid: of the case in memory order.

    Returns:
        Labels `(D, H, W)` on that grid.

    Raises:
        InputError: as `compose`.
    """
    return Volume(compose(drawn_by(instances, annotator), grid), grid)
