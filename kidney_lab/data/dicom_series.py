"""DICOM series: found among the files of a folder, one chosen, all others named."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kidney_lab.data.dicom_slices import Slice, is_dicom, read_slices
from kidney_lab.data.dicom_stack import stack
from kidney_lab.errors import InputError
from kidney_lab.geometry import Grid
from kidney_lab.wording import counted


class NoAxialCTError(InputError):
    """There is DICOM, but no axial CT in it: a scout, a dose report, another modality."""


@dataclass(frozen=True, eq=False)
class Series:
    """An axial CT, as its headers have it.

    Args:
        slices: from head to feet; the source images of whatever is derived from the volume, in its order.
        grid: `(slices, rows, columns)`.
        notes: what lay beside it and was left out, one sentence each.
    """

    slices: Sequence[Slice]
    grid: Grid
    notes: Sequence[str] = ()

    @property
    def uid(self) -> str:
        """SeriesInstanceUID."""
        return self.slices[0].series

    @property
    def files(self) -> list[Path]:
        """Files of the slices, in their order, each once."""
        return list(dict.fromkeys(s.path for s in self.slices))


def find_series(source: Path | Sequence[Path]) -> Series:
    """Finds the one axial CT series in a folder, or the series that a file belongs to.

    Scouts, reports, other modalities and other planes are left out where a proper series is beside them.

    Args:
        source: a folder (subfolders are not looked into), one file of a series, whose other files are looked for in its
            folder, or the very files.

    Returns:
        The series; no voxel is read.

    Raises:
        NoAxialCTError: there is none.
        InputError: there are several, a file is broken, or `stack` refuses the slices.
    """
    if isinstance(source, Path):
        slices = _beside(source) if source.is_file() else _slices(dicom_files(source))
    else:
        slices = _slices(source)
    if not slices:
        raise InputError(f"{source} holds no DICOM files; name a folder that holds the slices of one series.")
    where = source if isinstance(source, Path) else slices[0].path.parent
    groups = _by_series(slices)
    foreign = {uid: reason for uid, group in groups.items() if (reason := _foreign(group)) is not None}
    proper = {uid: group for uid, group in groups.items() if uid not in foreign}
    left_out = [f"Left out the {groups[uid][0].origin}: {reason}." for uid, reason in foreign.items()]
    if not proper:
        raise _no_axial_ct(where, groups, foreign)
    if len(proper) > 1:
        raise _several(where, proper.values())
    (group,) = proper.values()
    kept, scouts = _without_scouts(group)
    ordered, grid = stack(kept)
    return Series(ordered, grid, (*left_out, *scouts))


def dicom_files(folder: Path) -> list[Path]:
    """The DICOM files that lie in a folder itself, sorted by name; hidden ones are left out."""
    return [path for path in sorted(folder.glob("[!.]*")) if path.is_file() and is_dicom(path)]


def _slices(files: Iterable[Path]) -> list[Slice]:
    return [s for path in files for s in read_slices(path)]


def _beside(path: Path) -> list[Slice]:
    """Slices of the series that a file belongs to; a file of many slices is a series of its own."""
    own = read_slices(path)
    if len(own) > 1:
        return own
    return [s for s in _slices(dicom_files(path.parent)) if s.series == own[0].series] or own


def _by_series(slices: Iterable[Slice]) -> dict[str, list[Slice]]:
    groups: dict[str, list[Slice]] = defaultdict(list)
    for s in slices:
        groups[s.series].append(s)
    return groups


def _foreign(group: Sequence[Slice]) -> str | None:
    """Why no slice of a series is one of an axial CT; None where at least one is."""
    reasons = [s.foreign for s in group]
    return reasons[0] if all(reasons) else None


def _without_scouts(group: Sequence[Slice]) -> tuple[list[Slice], list[str]]:
    """The slices of a series without its localizers, and a note of them; refuses what else does not belong there."""
    kept = [s for s in group if not s.localizer]
    for s in kept:
        if s.foreign is not None:
            raise InputError(f"{s.path} does not fit the rest of the {s.origin}: {s.foreign}; take it out.")
        if s.problem is not None:
            raise InputError(f"{s.path} {s.problem}.")
    n = len(group) - len(kept)
    return kept, [f"Left out {counted(n, 'localizer')} of the {group[0].origin}."] if n else []


def _no_axial_ct(where: Path, groups: Mapping[str, Sequence[Slice]], foreign: Mapping[str, str]) -> NoAxialCTError:
    found = "; ".join(f"{group[0].description or uid!r}: {foreign[uid]}" for uid, group in groups.items())
    return NoAxialCTError(f"{where} holds no axial CT series ({found}); name the folder of an axial CT series.")


def _several(where: Path, groups: Iterable[Sequence[Slice]]) -> InputError:
    found = "; ".join(
        f"{group[0].path.name} is of {group[0].description or group[0].series!r}, {counted(len(group), 'slice')}"
        for group in groups
    )
    return InputError(f"{where} holds several axial CT series; name one file of the one that you mean ({found}).")
