"""Which prediction belongs to which reference: found by case, and refused where their headers do not match."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kidney_lab.data.kits import IMAGE_FILE, grid_in_memory
from kidney_lab.data.nifti import read_grid
from kidney_lab.errors import InputError
from kidney_lab.geometry import Grid

Pair = tuple[Path | None, Path]
"""Prediction, None where it is missing and scored as an empty one, and reference."""

Missing = Literal["error", "zero"]
"""What a reference without a prediction is: an error, or scored as an empty prediction, as a challenge would."""

SEGMENTATIONS = ("segmentation.nii.gz", "aggregated_MAJ_seg.nii.gz")


@dataclass(frozen=True)
class ScoredFiles:
    """The files that the result of a case is made from.

    Args:
        id: name of the case.
        prediction: None where it is missing and scored as an empty one.
        reference: of the case.
        image: of the case, where its border is measured.
    """

    id: str
    prediction: Path | None
    reference: Path
    image: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Those that there are."""
        return tuple(path for path in (self.prediction, self.reference, self.image) if path is not None)


def find_label_maps(folder: Path, role: str) -> dict[str, Path]:
    """Label maps of a folder by case.

    Args:
        folder: a KiTS root (`case_XXXXX/segmentation.nii.gz`) or a flat folder (`case_XXXXX.nii.gz`,
            `KiTS_XXXXX.nii.gz`, or any other stem).
        role: the folder's name on the command line, for messages.

    Returns:
        Case to file. A case is named `case_XXXXX` where the name has a case number, else by the file's stem.

    Raises:
        InputError: there is no such folder, it holds no label maps, or two files are of the same case.
    """
    return _find(folder, role, SEGMENTATIONS, "label maps")


def find_images(folder: Path, cases: Sequence[str]) -> dict[str, Path]:
    """CT images of some cases.

    Args:
        folder: a KiTS root (`case_XXXXX/imaging.nii.gz`) or a flat folder, where nnU-Net's channel `_0000` at the end
            of a name does not count.
        cases: that must be there.

    Returns:
        Case to file.

    Raises:
        InputError: as `find_label_maps`, or names every case without an image.
    """
    found = _find(folder, "images", (IMAGE_FILE,), "images")
    absent = [case for case in cases if case not in found]
    if absent:
        raise InputError.of(f"images={folder} lacks cases; add them, or leave images= out:", absent)
    return {case: found[case] for case in cases}


def _find(folder: Path, role: str, names: Sequence[str], what: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"{role}={folder} is no folder: name one that holds *.nii.gz files or case_XXXXX folders.")
    nested = [path for case in sorted(folder.glob("case_*")) for path in _first(case, names)]
    flat = [path for path in sorted(folder.glob("*.nii*")) if path.is_file() and not path.name.startswith(".")]
    named = [(case_name(path.parent.name), path) for path in nested]
    named += [(case_name(path.name, image=names == (IMAGE_FILE,)), path) for path in flat]
    found: dict[str, Path] = {}
    problems = []
    for case, path in named:
        if case in found:
            problems.append(f"{role}={folder} holds {case} twice: {found[case]} and {path}.")
        found[case] = path
    if problems:
        raise InputError("\n".join(problems))
    if not found:
        raise InputError(f"{role}={folder} holds no {what}: neither *.nii.gz nor case_XXXXX/{names[0]}.")
    return found


def _first(case: Path, names: Sequence[str]) -> list[Path]:
    return [case / name for name in names if (case / name).is_file()][:1]


def case_name(name: str, *, image: bool = False) -> str:
    """Case that a file or folder name stands for.

    Args:
        name: of the file or folder.
        image: it may end in nnU-Net's number of the channel.

    Returns:
        `case_XXXXX` where the name has a number of five digits, else its stem.

    >>> case_name("KiTS_00012.nii.gz"), case_name("case_00012"), case_name("liver.nii.gz")
    ('case_00012', 'case_00012', 'liver')
    """
    stem = re.sub(r"\.nii(\.gz)?$", "", name)
    match = re.search(r"(?<!\d)(\d{5})(?!\d)", stem)
    if match:
        return f"case_{match[1]}"
    return stem.removesuffix("_0000") if image else stem


def match_pairs(predictions: Path, references: Path, *, missing: Missing = "error") -> dict[str, Pair]:
    """Pairs predictions with references.

    Args:
        predictions: folder, see `find_label_maps`.
        references: folder.
        missing: "zero" pairs a reference without a prediction with None.

    Returns:
        Case to (prediction, reference), sorted by case.

    Raises:
        InputError: names every prediction without a reference and every reference without a prediction.
    """
    if missing not in ("error", "zero"):
        raise InputError(f"missing={missing} is unknown: choose error, or zero to score what is missing as empty.")
    predicted = find_label_maps(predictions, "predictions")
    reference = find_label_maps(references, "references")
    problems = [
        f"{case}: {path} has no reference in {references}." for case, path in predicted.items() if case not in reference
    ]
    absent = [case for case in reference if case not in predicted]
    if missing == "error":
        problems += [f"{case}: {reference[case]} has no prediction in {predictions}." for case in absent]
    if problems:
        hint = " (missing=zero scores a missing prediction as an empty one)" if absent and missing == "error" else ""
        raise InputError.of(
            f"Predictions and references do not cover the same cases; nothing was scored{hint}:", problems
        )
    return {case: (predicted.get(case), reference[case]) for case in sorted(reference)}


def header_problems(case: ScoredFiles) -> list[str]:
    """What is wrong with the headers of a case's files: one sentence each.

    Returns:
        Sentences on files that cannot be read, or lie elsewhere than the reference (more than 1e-3 mm away); files may
        be stored in different orientations.
    """
    grids: dict[Path, Grid] = {}
    problems = []
    for path in case.files:
        try:
            grids[path] = grid_in_memory(read_grid(path))
        except InputError as error:
            problems.append(f"{case.id}: {error}")
    if case.reference in grids:
        reference = grids.pop(case.reference)
        problems += [f"{case.id}: {path} {what}" for path, grid in grids.items() for what in _off(grid, reference)]
    return problems


def _off(grid: Grid, reference: Grid) -> list[str]:
    if grid.shape != reference.shape:
        return [f"has shape {grid.shape}, its reference {reference.shape} (D, H, W)."]
    if grid.same_as(reference):
        return []
    return [
        f"lies elsewhere than its reference, {grid.distance_to(reference):.4g} mm apart: "
        f"affine {grid.affine.tolist()} against {reference.affine.tolist()}."
    ]
