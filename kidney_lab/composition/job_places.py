"""Jobs of a sweep and the folders that they get: one each, and the one that was theirs before."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kidney_lab.composition.sweep_folders import JobFolder, free_numbers
from kidney_lab.errors import InputError


@dataclass(frozen=True)
class Job:
    """A job of a sweep.

    Args:
        overrides: that compose it.
        key: see `job_key`.
        row: of a paper's table.
        subdir: folder in the sweep's that the configuration gives it; None: a number.
        paths: of its inputs that may move, by their keys.
    """

    overrides: tuple[str, ...]
    key: str
    row: str | None
    subdir: str | None
    paths: dict[str, str]


def job_places(jobs: Sequence[Job], found: Sequence[JobFolder | None], folder: Path) -> list[str]:
    """Folders of the jobs in the sweep's: the one that is there, else what the configuration says, else a number."""
    numbers = free_numbers(folder)
    names = []
    for job, own in zip(jobs, found, strict=True):
        if own is not None:
            names.append(os.path.relpath(own.path, folder))
        else:
            names.append(str(next(numbers)) if job.subdir is None else job.subdir)
    return names


def refuse_shared(
    jobs: Sequence[Job], names: Sequence[str], found: Sequence[JobFolder | None], begun: Sequence[str]
) -> None:
    """Makes sure that every job has a folder of its own.

    Args:
        jobs: of the sweep.
        names: of their folders.
        found: those of them that are there.
        begun: names of all that are there.

    Raises:
        InputError: names the folder, and the jobs.
    """
    taken = dict.fromkeys(begun, "one of another configuration")
    for job, name, own in zip(jobs, names, found, strict=True):
        words = " ".join(job.overrides)
        if own is None and os.path.normpath(name) in taken:
            raise InputError(
                f"hydra.sweep.subdir gives the folder {name} to two jobs, {taken[os.path.normpath(name)]} and {words}: "
                "leave it out, so that they are numbered, or name what they differ in."
            )
        taken[os.path.normpath(name)] = words


def tell_moved(job: Job, own: JobFolder) -> None:
    """Says that a job is taken for one whose inputs lay elsewhere."""
    if own.key == job.key:
        return
    before = own.record.get("paths", {})
    now = {key: str(Path(path).expanduser().resolve()) for key, path in job.paths.items()}
    moved = [f"{key} from {before.get(key)} to {path}" for key, path in now.items() if before.get(key) != path]
    print(f"job {own.path.name} is taken as one whose data has moved: {', '.join(moved)}", file=sys.stderr)
