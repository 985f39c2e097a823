"""Cases: found in the folder layout of the KiTS challenges, and read into memory.

The layout is `<root>/case_XXXXX/imaging.nii.gz` with a segmentation beside it: `segmentation.nii.gz` (KiTS19, KiTS23)
or `aggregated_MAJ_seg.nii.gz` (KiTS21, the voxelwise majority of three annotators).
"""

import hashlib
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from kidney_lab.data.annotations import Instance, annotator_label, annotators, find_instances
from kidney_lab.data.nifti import read_grid, read_volume
from kidney_lab.errors import InputError
from kidney_lab.geometry import Grid, Volume, reorient

Annotation = Literal["majority", "first", "sampled"]
"""What training learns from: the reference, the first annotator, or one drawn anew for every case and epoch."""

_CASE = re.compile(r"case_\d{5}")
_log = logging.getLogger(__name__)

IMAGE_FILE = "imaging.nii.gz"
LABEL_FILE = "segmentation.nii.gz"

SOURCE = (
    "The challenge gives the cases out at https://kits-challenge.org (folders case_00000, case_00001, ... with "
    "imaging.nii.gz and segmentation.nii.gz): task=download fetches them into data.root=, or set data.root= to the "
    "folder that holds them. "
    "data=phantom needs no download."
)


@dataclass(frozen=True)
class Case:
    """One CT volume of one patient, with or without a reference segmentation.

    Args:
        id: `case_XXXXX`.
        image: file of the CT, or None where there is none.
        label: file of the reference segmentation, or None where there is none.
        synthesize: paint an image around the label where there is no image.
        instances: masks of single annotators that a training may learn from beside the reference.
    """

    id: str
    image: Path | None
    label: Path | None
    synthesize: bool = False
    instances: tuple[Instance, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that this case consists of."""
        return tuple(path for path in (self.image, self.label) if path is not None)

    def read_image(self) -> Volume:
        """Reads the CT, or paints one around the label (the same for the same case on every machine).

        Returns:
            Hounsfield units `(D, H, W)`, in memory order, C-contiguous.

        Raises:
            InputError: there is no image and none is to be made, or its file is broken.
        """
        if self.image is not None:
            return in_memory(read_volume(self.image))
        if not self.synthesize:
            raise InputError(f"{self.id} has no image: put {IMAGE_FILE} into its folder.")
        from kidney_lab.data.synthesis import synthesize_ct

        label = self.read_label()
        seed = int.from_bytes(hashlib.sha256(self.id.encode()).digest()[:8], "big")
        return Volume(synthesize_ct(label.array, label.grid.spacing, np.random.default_rng(seed)), label.grid)

    def read_label(self) -> Volume:
        """Reads the reference segmentation.

        Returns:
            Labels `(D, H, W)` uint8, in memory order, C-contiguous.

        Raises:
            InputError: there is none, its file is broken, or a value is no whole number from 0 to 255.
        """
        if self.label is None:
            raise InputError(f"{self.id} has no reference segmentation: put {LABEL_FILE} into its folder.")
        volume = read_volume(self.label)
        whole = volume.array.astype(np.uint8, copy=False)
        if volume.array.dtype != np.uint8 and not np.array_equal(whole, volume.array):
            raise InputError(f"{self.label} holds values that are no whole numbers from 0 to 255; give a label map.")
        return in_memory(Volume(whole, volume.grid))

    def read_annotations(self) -> Iterator[Volume]:
        """Reads what every annotator drew, as one label map each, one after another.

        Yields:
            Labels `(D, H, W)` uint8, in memory order; none where the case has no instances.

        Raises:
            InputError: a mask is broken, or of another shape than the case.
        """
        return (annotator_label(self.instances, number, self.grid()) for number in annotators(self.instances))

    def grid(self) -> Grid:
        """Grid of the case in memory order, from a header alone."""
        if not self.files:
            raise InputError(f"{self.id} has neither {IMAGE_FILE} nor a segmentation.")
        return grid_in_memory(read_grid(self.files[0]))


def in_memory(volume: Volume) -> Volume:
    """Brings a volume into memory order, `(D, H, W)` in IPL, with its slices contiguous."""
    turned = reorient(volume)
    return Volume(np.ascontiguousarray(turned.array), turned.grid)


def grid_in_memory(grid: Grid) -> Grid:
    """Brings a grid into memory order, `(D, H, W)` in IPL."""
    return reorient(Volume(np.broadcast_to(np.uint8(0), grid.shape), grid)).grid


def find_cases(
    root: Path,
    *,
    label_files: Sequence[str] = (LABEL_FILE,),
    synthesize_missing_images: bool = False,
    annotation: Annotation = "majority",
) -> list[Case]:
    """Finds the cases of a KiTS folder.

    Args:
        root: folder that holds `case_XXXXX/`.
        label_files: names of the segmentation in a case's folder; the first that exists counts.
        synthesize_missing_images: paint an image around the label of a case that has none.
        annotation: other than majority: look for the masks of single annotators as well.

    Returns:
        Cases sorted by id; a file that is missing is None.

    Raises:
        InputError: the folder is missing or holds no cases; the message says where the data is given out.
    """
    if not root.is_dir():
        raise InputError(f"data.root={root} is no folder. {SOURCE}")
    folders = case_folders(root)
    if not folders:
        nested = sorted({case.parent for case in root.glob("*/case_*") if case.is_dir()})
        hint = f" Did you mean data.root={nested[0]}?" if nested else ""
        raise InputError(f"data.root={root} holds no folders case_XXXXX.{hint} {SOURCE}")
    return [
        Case(
            id=folder.name,
            image=(image := _first(folder, [IMAGE_FILE])),
            label=_first(folder, label_files),
            synthesize=synthesize_missing_images and image is None,
            instances=() if annotation == "majority" else find_instances(folder),
        )
        for folder in folders
    ]


def case_folders(root: Path) -> list[Path]:
    """Folders `case_` and five digits in a folder, sorted; copies and the like are named and left out.

    A copy under another name would be a patient who is in two parts of a split.
    """
    folders = sorted(folder for folder in root.glob("case_*") if folder.is_dir())
    others = [folder.name for folder in folders if not _CASE.fullmatch(folder.name)]
    if others:
        _log.warning("Left out, since a case is case_ and five digits: %s", ", ".join(others))
    return [folder for folder in folders if _CASE.fullmatch(folder.name)]


def _first(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)
