"""Are the files of a dataset sound? Every problem of every case is told at once, before hours of work are spent.

Broken downloads, masks that do not lie on their image and stray label values are what stops a run on KiTS; each file is
therefore decoded once, and what was found is remembered by its size and time of change.
"""

import json
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import filelock
import numpy as np
from numpy.typing import NDArray

from kidney_lab.data.kits import IMAGE_FILE, Case, grid_in_memory
from kidney_lab.data.nifti import read_volume
from kidney_lab.data.parallel import over_cases
from kidney_lab.errors import InputError
from kidney_lab.files import make_folder, write_text
from kidney_lab.geometry import Grid
from kidney_lab.labels import BACKGROUND
from kidney_lab.wording import counted

log = logging.getLogger(__name__)

_AFFINE_TOLERANCE_MM = 1e-3
_SKEW_DEGREES = 0.1  # what rounding of a header does is less
_MANY = 20  # more different values than this are no label map


@dataclass(frozen=True)
class FileFacts:
    """What decoding a file showed.

    Args:
        size: bytes.
        mtime_ns: time of the last change.
        problem: why the file cannot be used, or None.
        shape: `(D, H, W)` in memory order; None where the file cannot be read.
        affine: of the grid in memory order, rows of four; None where the file cannot be read.
        values: different values of a segmentation, at most some; empty for an image.
    """

    size: int
    mtime_ns: int
    problem: str | None = None
    shape: tuple[int, int, int] | None = None
    affine: list[list[float]] | None = None
    values: tuple[float, ...] = ()

    @property
    def grid(self) -> Grid | None:
        """Grid in memory order, or None where the file cannot be read."""
        if self.shape is None or self.affine is None:
            return None
        return Grid((self.shape[0], self.shape[1], self.shape[2]), np.array(self.affine))


Facts = dict[str, FileFacts]


def check_cases(
    cases: Sequence[Case],
    *,
    labels: Collection[int],
    workers: int | None = 1,
    progress: bool = True,
    require_labels: bool = True,
    cache: Path | None = None,
) -> None:
    """Makes sure that every case can be trained on.

    Args:
        cases: what to look at; one case per worker is in memory.
        labels: values that a segmentation may hold beside the background.
        workers: number of processes; None: one per core, at most 8.
        progress: whether to show progress.
        require_labels: whether a case without a segmentation is a problem.
        cache: JSON file that remembers what decoding showed; files that did not change since are not decoded again.
            Several processes may share it.

    Raises:
        InputError: lists every problem of every case, with the file's path.
    """
    known = _load(cache)
    facts = {path: known[path] for case in cases for path in map(str, files_of(case)) if _unchanged(path, known)}
    stale = [case for case in cases if any(str(path) not in facts for path in files_of(case))]
    for _, found in over_cases(
        partial(_examine, known=facts), stale, workers=workers, title="Checking cases", progress=progress
    ):
        facts |= found
    if cache is not None and stale:
        _remember(cache, facts)
    problems = [
        problem
        for case in cases
        for problem in case_problems(case, facts, labels=labels, require_labels=require_labels)
    ]
    if problems:
        found_in = f"{counted(len(problems), 'problem')} in {counted(len(cases), 'case')}"
        raise InputError.of(f"{found_in}; mend or remove these files:", problems)
    _warn_of_tilted(cases, facts)


def files_of(case: Case) -> tuple[Path, ...]:
    """Every file of a case: image, reference, and the masks of single annotators."""
    return (*case.files, *(instance.path for instance in case.instances))


def case_problems(
    case: Case, facts: Mapping[str, FileFacts], *, labels: Collection[int], require_labels: bool = True
) -> Iterator[str]:
    """Says what is wrong with one case.

    Args:
        case: what is judged.
        facts: what its files showed, by path.
        labels: values that its segmentation may hold beside the background.
        require_labels: whether a missing segmentation is a problem.

    Yields:
        One sentence per problem.
    """
    folder = case.files[0].parent if case.files else case.id
    if case.image is None and not case.synthesize:
        yield f"{folder}: {IMAGE_FILE} is missing."
    if case.label is None and (require_labels or case.synthesize):
        yield f"{folder}: the segmentation is missing."
    yield from (problem for path in files_of(case) if (problem := facts[str(path)].problem) is not None)
    if case.label is not None:
        yield from _stray_values(case.label, facts[str(case.label)], labels)
    if case.image is not None and case.label is not None:
        yield from _apart(case.image, facts[str(case.image)].grid, case.label, facts[str(case.label)].grid)
    for instance in case.instances:
        drawn = facts[str(instance.path)]
        yield from _stray_values(instance.path, drawn, {1})
        yield from _apart(case.files[0], facts[str(case.files[0])].grid, instance.path, drawn.grid)


def _stray_values(path: Path, facts: FileFacts, labels: Collection[int]) -> Iterator[str]:
    stray = sorted(set(facts.values) - {BACKGROUND, *labels})
    if stray:
        shown = ", ".join(f"{value:g}" for value in stray)
        yield f"{path} holds the label values {shown}, but this dataset has {sorted({BACKGROUND, *labels})} alone."


def _apart(image: Path, image_grid: Grid | None, label: Path, label_grid: Grid | None) -> Iterator[str]:
    if image_grid is None or label_grid is None:
        return
    if image_grid.shape != label_grid.shape:
        yield f"{image} has shape {image_grid.shape}, but {label} has shape {label_grid.shape} (D, H, W)."
    elif not image_grid.same_as(label_grid, _AFFINE_TOLERANCE_MM):
        yield (
            f"{image} and {label} lie up to {image_grid.distance_to(label_grid):.3g} mm apart: "
            f"affine {image_grid.affine.tolist()} against {label_grid.affine.tolist()}."
        )


def _warn_of_tilted(cases: Sequence[Case], facts: Mapping[str, FileFacts]) -> None:
    """Names the cases whose axes are not at right angles, as after a tilted gantry or a damaged header."""
    tilted = {}
    for case in cases:
        grid = facts[str(case.files[0])].grid
        if grid is not None and grid.skew_degrees > _SKEW_DEGREES:
            tilted[case.id] = grid.skew_degrees
    if tilted:
        named = ", ".join(f"{case} ({degrees:.1f} degrees)" for case, degrees in list(tilted.items())[:5])
        log.warning(
            "%s with sheared affines, treated as if the axes stood at right angles: %s%s",
            counted(len(tilted), "case"),
            named,
            ", ..." if len(tilted) > 5 else "",
        )


def _examine(case: Case, known: Facts) -> Facts:
    """Decodes those files of a case that are not known yet, one after another."""
    return {str(path): _facts(path, path != case.image) for path in files_of(case) if str(path) not in known}


def _facts(path: Path, is_label: bool) -> FileFacts:
    stat = path.stat()
    try:
        volume = read_volume(path)
    except InputError as error:
        return FileFacts(stat.st_size, stat.st_mtime_ns, problem=str(error))
    grid = grid_in_memory(volume.grid)
    finite = volume.array.dtype.kind in "iub" or all(np.isfinite(layer).all() for layer in _layers(volume.array))
    return FileFacts(
        size=stat.st_size,
        mtime_ns=stat.st_mtime_ns,
        problem=None if finite else f"{path} holds voxels that are NaN or infinite.",
        shape=grid.shape,
        affine=grid.affine.tolist(),
        values=_values(volume.array) if is_label and finite else (),
    )


def _values(array: NDArray[Any]) -> tuple[float, ...]:
    """Different values of an array; stops looking when they are too many for a label map."""
    values: set[float] = set()
    for layer in _layers(array):
        values.update(np.unique(layer).tolist())
        if len(values) > _MANY:
            break
    return tuple(sorted(values)[:_MANY])


def _layers(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Pieces along the last axis, which are contiguous in an array read from NIfTI."""
    return (array[..., k] for k in range(array.shape[-1]))


def _unchanged(path: str, known: Facts) -> bool:
    stat = Path(path).stat()
    return path in known and (known[path].size, known[path].mtime_ns) == (stat.st_size, stat.st_mtime_ns)


def _load(cache: Path | None) -> Facts:
    """What is remembered; a cache that cannot be read is as good as none."""
    try:
        stored = json.loads(cache.read_text()) if cache is not None else {}
        return {
            path: FileFacts(**{**facts, "shape": facts["shape"] and tuple(facts["shape"])})
            for path, facts in stored.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _remember(cache: Path, facts: Facts) -> None:
    """Adds facts to what is remembered by now: other processes may have added theirs meanwhile."""
    with filelock.FileLock(make_folder(cache.parent) / f".{cache.name}.lock"):
        merged = _load(cache) | facts
        write_text(cache, json.dumps({path: asdict(found) for path, found in merged.items()}))
