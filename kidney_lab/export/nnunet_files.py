"""The images and references of a dataset under nnU-Net's names: linked where they can stay as they are, else written.

Whatever is there from an earlier export, and still belongs to its source, is left alone: a copy and what was made out
of a source carry the source's time of change.
"""

import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import nibabel as nib

from kidney_lab.data.kits import Case
from kidney_lab.data.nifti import read_grid, read_volume, write_volume
from kidney_lab.data.painted import painted_once
from kidney_lab.data.parallel import over_cases
from kidney_lab.data.prepare import GridRecipe, memory_need
from kidney_lab.files import replacing
from kidney_lab.geometry import Volume, reorient

_UNFINISHED = re.compile(r"\.[0-9a-f]{32}\..+")  # as `replacing` names them


@dataclass(frozen=True)
class CaseFiles:
    """A case, and where it goes.

    Args:
        case: with a reference.
        part: "Tr" for training and validation, "Ts" for the test.
        first_annotator: write what the first annotator drew instead of the reference.
    """

    case: Case
    part: Literal["Tr", "Ts"]
    first_annotator: bool = False

    @property
    def id(self) -> str:
        """Name of the case."""
        return self.case.id

    @property
    def files(self) -> tuple[Path, ...]:
        """What is read."""
        return self.case.files

    @property
    def is_made(self) -> bool:
        """Whether a file is computed, which takes long, and not linked."""
        return self.case.image is None or self.first_annotator


def write_cases(items: Sequence[CaseFiles], folder: Path, *, copy: bool, painted: Path, workers: int | None) -> None:
    """Brings images and labels of cases into a dataset's folder.

    Args:
        items: the cases.
        folder: `DatasetXXX_Name`.
        copy: copies instead of links.
        painted: folder that keeps painted images, see `painted_once`.
        workers: processes where much is to be done; None: one per core, at most 8, as memory allows.

    Raises:
        InputError: a file cannot be read.
    """
    for path in folder.glob("*/.*.nii.gz"):
        if _UNFINISHED.fullmatch(path.name):
            path.unlink()  # of an export that was killed: nnU-Net would count it as a case
    busy = copy or any(item.is_made for item in items)
    write = partial(write_case, folder=folder, copy=copy, painted=painted)
    need = partial(_memory_need, recipe=GridRecipe())
    for _ in over_cases(write, items, workers=workers if busy else 1, title="Exporting cases", need=need):
        continue


def write_case(item: CaseFiles, *, folder: Path, copy: bool, painted: Path) -> None:
    """Brings image and label of one case into a dataset's folder, see `write_cases`."""
    case = item.case
    image = folder / f"images{item.part}" / f"{case.id}_0000.nii.gz"
    label = folder / f"labels{item.part}" / f"{case.id}.nii.gz"
    if case.image is not None:
        place(case.image, image, copy=copy)
    else:
        make(image, case.files, lambda: _as_in_file(painted_once(case, painted), case))
    if item.first_annotator:
        drawn = [instance.path for instance in case.instances]
        make(label, drawn, lambda: _as_in_file(next(case.read_annotations()), case))
    elif case.label is not None:
        place(case.label, label, copy=copy)


def place(source: Path, target: Path, *, copy: bool) -> None:
    """Puts a volume under another name: as a link, or as a copy where that is asked for or links cannot be made.

    nnU-Net reads files of three axes alone; a fourth of length 1 is dropped, in a file of its own.

    Args:
        source: `.nii.gz`.
        target: name of the link.
        copy: a copy instead.
    """
    source = source.resolve()
    if len(nib.load(source).shape) != 3:
        make(target, [source], lambda: read_volume(source))
    elif not _is_current(source, target, copy=copy):
        with replacing(target) as temporary:
            if copy or not _link(source, temporary):
                shutil.copy2(source, temporary)


def make(target: Path, sources: Sequence[Path], volume: Callable[[], Volume]) -> None:
    """Writes a volume that is made out of other files, unless it is there and they have not changed since."""
    changed = max(path.stat().st_mtime_ns for path in sources)
    if not (target.is_file() and target.stat().st_mtime_ns == changed):
        write_volume(target, volume())
        os.utime(target, ns=(changed, changed))


def _is_current(source: Path, target: Path, *, copy: bool) -> bool:
    if not target.exists():
        return False
    if target.samefile(source):
        return not copy
    return (target.stat().st_size, target.stat().st_mtime_ns) == (source.stat().st_size, source.stat().st_mtime_ns)


def _link(source: Path, target: Path) -> bool:
    """Makes a hard link, which outlives a move of the data, else a symbolic one; some file systems have neither."""
    for link in (os.link, os.symlink):
        try:
            link(source, target)
            return True
        except OSError:
            continue  # another disk, or a file system without links
    return False


def _as_in_file(volume: Volume, case: Case) -> Volume:
    """A volume in the orientation of the case's files."""
    return reorient(volume, read_grid(case.files[0]).orientation)


def _memory_need(item: CaseFiles, recipe: GridRecipe) -> float:
    return memory_need(item.case, recipe)
