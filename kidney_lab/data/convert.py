"""Other datasets, brought into the layout of KiTS: their own file names and label values, described by patterns.

A folder in KiTS's layout is what every task reads and other tools know, so a dataset is converted into one, once, as
nnU-Net's are. Images in `.nii.gz` are linked and take no space; label maps, which are small, are written anew with the
values of `kidney_lab.labels`. A case is converted again when one of its files or the meaning of a value has changed.
"""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kidney_lab.data.file_patterns import CASE, files_like
from kidney_lab.data.kits import IMAGE_FILE, LABEL_FILE, Case, case_folders
from kidney_lab.data.nifti import read_volume, write_volume
from kidney_lab.data.parallel import over_cases
from kidney_lab.data.split_files.load import some
from kidney_lab.errors import InputError
from kidney_lab.files import make_folder, replacing, write_text
from kidney_lab.geometry import Volume
from kidney_lab.labels import BACKGROUND, LABELS
from kidney_lab.wording import counted

RECORD: Final = "source.json"
"""In the folder of a case: what it was converted from. It is written last."""

_NAMES: Final = {"background": BACKGROUND, **LABELS}


def convert_cases(
    root: str | Path, *, images: str, labels: str, values: Mapping[int, str], workers: int | None = None
) -> None:
    """Brings the cases of another dataset into a folder in KiTS's layout; finished ones are kept.

    Args:
        root: folder that gets `case_XXXXX/imaging.nii.gz` (a link, or a copy of an image that is not compressed),
            `segmentation.nii.gz` (uint8) and `source.json`.
        images: pattern of the images' paths, such as `scans/CT-{case}.nii.gz`; NIfTI, in Hounsfield units.
        labels: pattern of the label maps' paths; a case without one has no reference.
        values: what a value of their label maps means: kidney, tumor, cyst or background. 0 is background.
        workers: processes; None: one per core, at most 8.

    Raises:
        InputError: a pattern has no `{case}`, no file is like it or two are of one case, a value means nothing known,
            `root` holds other cases, or lists every label map that cannot be read or holds other values.
    """
    root, meaning = Path(root), check_values(values)
    scans, references = files_like(images, "data.convert.images"), files_like(labels, "data.convert.labels")
    cases = [Case(name, scans.get(name), references.get(name)) for name in sorted({*scans, *references})]
    if not scans:
        raise InputError(
            f"data.convert.images={images} is like no file: {CASE} stands for a number of one to five digits, and the "
            f"path begins in {Path.cwd()} unless it begins with /."
        )
    _refuse_others(root, cases)
    work = partial(_convert, root=root, meaning=meaning)
    todo = [case for case in cases if _read(root / case.id / RECORD) != _record(case, meaning)]
    problems = [problem for _, problem in over_cases(work, todo, workers=workers, title="Converting") if problem]
    if problems:
        raise InputError.of(
            f"{counted(len(problems), 'label map')} cannot be converted; mend them, or data.convert.values:",
            sorted(problems),
        )


def check_values(values: Mapping[int, str]) -> dict[int, int]:
    """Labels by the values that stand for them in another dataset, sorted; 0 is background unless told otherwise.

    Raises:
        InputError: a value is no whole number, or means nothing known.

    >>> check_values({2: "kidney", 1: "tumor"})
    {0: 0, 1: 2, 2: 1}
    """
    for value, name in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or name not in _NAMES:
            raise InputError(
                f"data.convert.values gives {value!r} the meaning {name!r}: write whole numbers, each with one of "
                f"{', '.join(_NAMES)}."
            )
    return dict(sorted({0: BACKGROUND, **{value: _NAMES[name] for value, name in values.items()}}.items()))


def to_labels(array: NDArray[Any], meaning: Mapping[int, int]) -> NDArray[np.uint8]:
    """A label map in the values of `kidney_lab.labels`.

    Args:
        array: label map of another dataset, of any number type.
        meaning: see `check_values`.

    Raises:
        ValueError: it holds values that mean nothing; the message lists some.
    """
    strays = sorted(set(np.unique(array).tolist()) - set(meaning))
    if strays:
        raise ValueError(f"holds the value{'s' if len(strays) > 1 else ''} {some([f'{value:g}' for value in strays])}")
    labels = np.zeros(array.shape, np.uint8)
    for value, label in meaning.items():
        labels[array == value] = label
    return labels


def _convert(case: Case, *, root: Path, meaning: Mapping[int, int]) -> str | None:
    """Converts one case, or says what is wrong with its label map."""
    folder = make_folder(root / case.id)
    (folder / RECORD).unlink(missing_ok=True)  # what is there may soon be of two sources
    for name, source in ((IMAGE_FILE, case.image), (LABEL_FILE, case.label)):
        if source is None:
            (folder / name).unlink(missing_ok=True)
    try:
        if case.label is not None:
            volume = read_volume(case.label)
            write_volume(folder / LABEL_FILE, Volume(to_labels(volume.array, meaning), volume.grid))
        if case.image is not None:
            _link(case.image, folder / IMAGE_FILE)
    except InputError as error:
        return str(error)
    except ValueError as error:
        return f"{case.label} {error}, but data.convert.values has {sorted(meaning)} alone."
    write_text(folder / RECORD, json.dumps(_record(case, meaning), indent=2) + "\n")
    return None


def _link(image: Path, place: Path) -> None:
    """Links an image, or writes it anew where its name does not end as that of the link."""
    if not image.name.endswith(".nii.gz"):
        write_volume(place, read_volume(image))
        return
    with replacing(place) as temporary:
        temporary.symlink_to(image.resolve())


def _refuse_others(root: Path, cases: list[Case]) -> None:
    others = sorted({folder.name for folder in case_folders(root)} - {case.id for case in cases})
    if others:
        raise InputError(
            f"data.root={root} holds {counted(len(others), 'case')} that data.convert.images and labels do not have: "
            f"{some(others)}; remove what is no longer wanted there, or name an empty folder."
        )


def _record(case: Case, meaning: Mapping[int, int]) -> dict[str, Any]:
    """What a conversion depends on."""
    files = {name: path for name, path in (("image", case.image), ("label", case.label)) if path is not None}
    facts = {name: [str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns] for name, path in files.items()}
    return {**facts, "labels_by_value": {str(value): label for value, label in meaning.items()}}


def _read(record: Path) -> Any:
    """A record; None where there is none that can be read."""
    try:
        return json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
