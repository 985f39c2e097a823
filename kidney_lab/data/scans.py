"""The scans that a user points at: a NIfTI file, a DICOM series, a folder of either, or a text file that lists them.

Nothing is decoded here. A scan knows how to read itself, and its header can be checked hours before its turn comes.
"""

import json
import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from rich.progress import track

from kidney_lab.data.dicom import read_series
from kidney_lab.data.dicom_series import NoAxialCTError, find_series
from kidney_lab.data.dicom_slices import is_dicom
from kidney_lab.data.kits import IMAGE_FILE
from kidney_lab.data.nifti import read_grid, read_volume
from kidney_lab.data.nifti_forms import check_right_angles
from kidney_lab.errors import InputError
from kidney_lab.geometry import Grid, Volume
from kidney_lab.wording import counted

log = logging.getLogger(__name__)

_SUFFIXES = (".nii.gz", ".nii", ".dcm", ".ima", ".dicom")  # others belong to the name: `IM0001`, `1.2.840.17`
_KINDS = (
    f"a NIfTI file, a DICOM series, a folder of either or of cases (case_XXXXX/{IMAGE_FILE}), or a .txt that lists them"
)


@dataclass(frozen=True)
class Scan:
    """One volume to segment.

    Args:
        name: unlike that of every other scan found with it; a label map is named by it.
        path: of a NIfTI file, of a folder of DICOM slices, or of one file of a DICOM series.
        kind: how to read it.
    """

    name: str
    path: Path
    kind: Literal["nifti", "dicom"]

    def grid(self) -> Grid:
        """Grid of the volume, from headers alone; raises `InputError` where they show that it cannot be read."""
        if self.kind == "dicom":
            return find_series(self.path).grid
        grid = read_grid(self.path)
        check_right_angles(grid, self.path)
        return grid

    def read(self) -> Volume:
        """Reads the volume in its own orientation; raises `InputError` where it is broken.

        Values are in Hounsfield units. A NIfTI file cannot say whether its own are; that they cannot be is warned of.
        """
        if self.kind == "dicom":
            return read_series(self.path)
        volume = read_volume(self.path)
        check_right_angles(volume.grid, self.path)
        _warn_unless_hounsfield(volume, self.path)
        return volume


def find_scans(source: Path, *, skip: Path | None = None) -> list[Scan]:
    """Finds the scans at a path; no header is read.

    * A NIfTI file is a scan, named by its stem; `imaging.nii.gz` is named by its folder.
    * A DICOM file stands for the series that it belongs to, and is how one of several in a folder is chosen.
    * A folder gives `imaging.nii.gz` alone where it has one; else its DICOM slices as one scan, or every NIfTI file,
      and the `imaging.nii.gz` or the DICOM slices of every folder below it, at any depth. Those are named by the
      folders on the way there (`case_00001`, `patient_study_series`). Hidden files and what `task=predict` wrote are
      left out.
    * A text file (`.txt`) lists any of these, one a line, relative to itself; blank lines and those that begin with `#`
      say nothing.

    Args:
        source: the path.
        skip: a folder that is not looked into: the output's, since it may lie among the scans.

    Returns:
        Scans in order of path, or of the list. Where two would have one name, folders are put before it.

    Raises:
        InputError: there is no scan at `source` or at a line of the list, or one is there twice.
    """
    listed = source.is_file() and source.suffix.lower() == ".txt" and not is_dicom(source)
    return _named_apart(_of_list(source, skip) if listed else _at(source, skip), source)


def check_scans(scans: Sequence[Scan], *, progress: bool = True) -> tuple[list[Scan], list[str]]:
    """Reads the headers of all scans, so that a problem is told before the first is segmented.

    Args:
        scans: as found.
        progress: whether to show progress.

    Returns:
        The scans that can be read, and one sentence per problem of the others. DICOM without an axial CT (a scout or a
        dose report in a folder of its own) is a problem only where nothing else can be read, and logged otherwise.
    """
    good, problems, foreign = [], [], []
    for scan in track(scans, "Checking scans", disable=not progress or len(scans) == 1, transient=True):
        try:
            scan.grid()
            good.append(scan)
        except NoAxialCTError as error:
            foreign.append(str(error))
        except InputError as error:
            problems.append(str(error))
    if not good:
        return [], problems + foreign
    for note in foreign:
        log.warning("Left out: %s", note)
    return good, problems


def is_nifti(path: Path) -> bool:
    """Whether a name is that of a NIfTI file."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def stem(path: Path) -> str:
    """Name of a file without the suffixes of NIfTI and DICOM; other dots stay."""
    suffix = next((suffix for suffix in _SUFFIXES if path.name.lower().endswith(suffix)), "")
    return path.name[: len(path.name) - len(suffix)] or path.name


def _warn_unless_hounsfield(volume: Volume, path: Path) -> None:
    """Air is -1000 HU; an image without it was scaled to grey values, shifted, or is a label map."""
    low = volume.array.min()
    if low >= 0:
        log.warning(
            "%s holds values from %g to %g, but a CT in Hounsfield units has some below 0; it is segmented as it is: "
            "convert it to Hounsfield units and do it again if it was scaled or shifted.",
            path,
            low,
            volume.array.max(),
        )


def _at(path: Path, skip: Path | None) -> list[Scan]:
    """Scans of a file or folder."""
    if path.is_dir():
        found = _in_tree(path, skip)
        if not found:
            raise InputError(f"input={path} holds no scans, nor do the folders below it; name {_KINDS}.")
        return found
    if not path.is_file():
        raise InputError(f"input={path} is not there; name {_KINDS}.")
    if is_nifti(path):
        return [_nifti(path)]
    if is_dicom(path):
        return [Scan(stem(path), path, "dicom")]
    raise InputError(f"input={path} is neither NIfTI nor DICOM; name {_KINDS}.")


def _nifti(path: Path) -> Scan:
    return Scan(_name_of(path.parent) if path.name == IMAGE_FILE else stem(path), path, "nifti")


def _name_of(folder: Path) -> str:
    return _plain(folder).name or "scan"  # the root of a disk has no name


def _plain(path: Path) -> Path:
    """The path from the root on without `..`; links keep their names."""
    return Path(os.path.normpath(path.absolute()))


def _in_tree(source: Path, skip: Path | None) -> list[Scan]:
    """Scans of a folder and of those below it, by path; each folder once, whatever links lead to it."""
    found: list[Scan] = []
    left_out: list[Path] = []
    seen = {skip.resolve()} if skip is not None and skip.resolve() != source.resolve() else set()
    folders = [source]
    for folder in folders:  # grows by the folders in it
        if folder.resolve() in seen:
            continue
        seen.add(folder.resolve())
        entries = sorted(folder.glob("[!.]*"))
        scans = _in_folder(folder, [path for path in entries if path.is_file()])
        if folder != source:
            kept = [scan for scan in scans if scan.kind == "dicom" or scan.path.name == IMAGE_FILE]
            left_out += [folder] if scans and not kept else []
            scans = [replace(scan, name="_".join(folder.relative_to(source).parts)) for scan in kept]
        found += scans
        if not any(scan.path.name == IMAGE_FILE for scan in scans):  # a case is one scan, whatever lies in its folders
            folders += [path for path in entries if path.is_dir()]
    if left_out:
        log.warning(
            "Left out %s%s: no NIfTI file there is named %s; list those that are scans in a .txt.",
            ", ".join(map(str, left_out[:4])),
            f" and {counted(len(left_out) - 4, 'more folder')}" if len(left_out) > 4 else "",
            IMAGE_FILE,
        )
    return sorted(found, key=lambda scan: scan.path)


def _in_folder(folder: Path, files: Sequence[Path]) -> list[Scan]:
    """What lies in a folder itself: a case, or the slices of a series, or NIfTI files."""
    if folder / IMAGE_FILE in files:
        return [_nifti(folder / IMAGE_FILE)]  # the segmentation beside it is no scan
    files = [path for path in files if not _is_output(path)]
    scans = [_nifti(path) for path in files if is_nifti(path)]
    if not any(is_dicom(path) for path in files if not is_nifti(path)):
        return scans
    if scans:  # the same scan converted, or its label map
        log.info("Left out %s of %s: DICOM lies beside them.", counted(len(scans), "NIfTI file"), folder)
    return [Scan(_name_of(folder), folder, "dicom")]


def _is_output(path: Path) -> bool:
    """Whether `task=predict` wrote a file: a record of the same name says so."""
    record = path.with_name(f"{stem(path).removesuffix('.seg')}.prediction.json")
    try:
        labels = json.loads(record.read_text(encoding="utf-8"))["labels"]
    except (OSError, ValueError, KeyError, TypeError):
        return False  # no record, or another program's
    return path.name == labels or path.name.endswith(".seg.dcm")


def _of_list(path: Path, skip: Path | None) -> list[Scan]:
    """Scans of the lines of a text file; every bad line is told at once."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"input={path} cannot be read as UTF-8 text ({error}); list one path a line.") from error
    found, problems = [], []
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line or line.startswith("#"):
            continue
        entry = Path(line).expanduser() if line.startswith("~/") else Path(line)
        try:
            found += _at(path.parent / entry, skip)
        except InputError as error:
            problems.append(f"Line {number}: {error}")
    if problems:
        raise InputError.of(f"input={path} lists paths without a scan; mend these lines:", problems)
    if not found:
        raise InputError(f"input={path} lists no scan; write one path a line.")
    return found


def _named_apart(scans: Sequence[Scan], source: Path) -> list[Scan]:
    """Gives every scan a name of its own, by putting names of folders before those that clash."""
    twice = [path for path, n in Counter(str(_plain(scan.path)) for scan in scans).items() if n > 1]
    if twice:
        raise InputError(f"input={source} names {', '.join(twice[:4])} more than once; name every scan once.")
    names = [scan.name for scan in scans]
    folders = [list(reversed(_folders(scan))) for scan in scans]
    for depth in range(max((len(above) for above in folders), default=0) + 1):
        clashing = {name for name, n in Counter(names).items() if n > 1}
        if not clashing:
            break
        names = [
            f"{above[depth]}_{name}" if name in clashing and depth < len(above) else name
            for name, above in zip(names, folders, strict=True)
        ]
    else:
        alike = [str(scan.path) for scan, name in zip(scans, names, strict=True) if name in clashing]
        raise InputError(
            f"input={source} holds {counted(len(alike), 'scan')} that would share a name ({', '.join(alike[:4])}); "
            "rename all but one, or take them out."
        )
    return [replace(scan, name=name) for scan, name in zip(scans, names, strict=True)]


def _folders(scan: Scan) -> list[str]:
    """Names of the folders above those that name a scan, from the root on."""
    path = _plain(scan.path)
    *above, last = (path.parent if path.name == IMAGE_FILE else path).parts[1:] or ("",)
    in_name = (n for n in range(len(above)) if "_".join([*above[len(above) - n :], last]) == scan.name)
    return above[: len(above) - next(in_name, 0)]
