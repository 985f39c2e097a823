"""Which folder of a sweep belongs to which job: jobs are known by their keys, whatever their numbers."""

import itertools
import json
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kidney_lab.errors import InputError
from kidney_lab.files import alone, write_text
from kidney_lab.heartbeat import is_alive, this_process

WAITING: Final = "waiting"
NOT_STARTED: Final = "not started"


@dataclass(frozen=True)
class JobFolder:
    """A folder that a job of a sweep has begun to write.

    Args:
        path: of the folder.
        record: what its `run.json` holds.
    """

    path: Path
    record: dict[str, Any]

    @property
    def key(self) -> str:
        """See `kidney_lab.composition.config_hash.job_key`; empty where no sweep began the folder."""
        return str(self.record.get("job", {}).get("key") or "")

    @property
    def status(self) -> str:
        """finished, failed, interrupted (also a job that was killed), running, waiting or not started.

        A job waits as long as the command that is to start it runs; then it stands as it did before.
        """
        status = str(self.record.get("status", "finished"))  # a record without one was made by hand
        process = self.record.get("process")
        if status == WAITING:
            signs = signs_of_sweep(self.path / self.record["sweep"])
            elsewhere = process and process != this_process() and signs.is_file() and is_alive(process, signs)
            return status if elsewhere else str(self.record["before"])
        if status == "running" and not (process and is_alive(process, self.path / "run.json")):
            return "interrupted"
        return status


def signs_of_sweep(sweep: Path) -> Path:
    """The file of a sweep's folder whose time shows that the command runs, see `kidney_lab.heartbeat.beating`."""
    return sweep / "multirun.yaml"  # where Hydra's own sweeper leaves the configuration


def write_waiting(folder: Path, record: dict[str, Any], sweep: Path, about: dict[str, Any]) -> bool:
    """Tells other commands that a job is about to be started: they leave its folder alone.

    Args:
        folder: of the job.
        record: that was there when it was found that the job is to be started; empty where it is new.
        sweep: folder of the sweep.
        about: the job's `overrides`, its key and row as `job`, and as `before` how it stood.

    Returns:
        False, and nothing is written, where another command has begun the job since.
    """
    file = folder / "run.json"
    with alone(folder):
        if (_read(file).record if file.is_file() else {}) != record:
            return False
        write_text(file, json.dumps(_waiting(folder, record, sweep, about), indent=2) + "\n")
    return True


def _waiting(folder: Path, record: dict[str, Any], sweep: Path, about: dict[str, Any]) -> dict[str, Any]:
    record = {"stages": {}, "resumed": [], "paths": {}} | record
    waiting = {
        "status": WAITING,
        "sweep": os.path.relpath(sweep, folder),  # both may move
        "process": this_process(),
        "job": {**record.get("job", {}), **about["job"]},
    }
    return {**record, **about, **waiting}


def read_folders(sweep: Path, names: Collection[str] = ()) -> list[JobFolder]:
    """Folders of a sweep that jobs have begun, by their numbers.

    Args:
        sweep: its folder; need not be there.
        names: of folders in it that are looked at too, such as `a/0`.

    Raises:
        InputError: a `run.json` cannot be read.
    """
    named = [file for name in names if (file := sweep / name / "run.json").is_file()]
    return [_read(file) for file in sorted({*sweep.glob("*/run.json"), *named}, key=_place)]


def match_folders(keys: Sequence[str], folders: Sequence[JobFolder]) -> list[JobFolder | None]:
    """Finds the folder of every job.

    The inputs of a job may have moved since: where its whole key is nowhere, the folder of the same configuration is
    its own, unless several jobs or folders have that one.

    Args:
        keys: of the jobs; equal ones get a folder each.
        folders: of the sweep.

    Returns:
        A folder for each key, None where there is none.
    """
    left = list(folders)
    found: list[JobFolder | None] = []
    for key in keys:
        found.append(next((folder for folder in left if folder.key == key), None))
        left = [folder for folder in left if folder is not found[-1]]
    missing = [_learned(key) for key, folder in zip(keys, found, strict=True) if folder is None]
    spare = [_learned(folder.key) for folder in left]
    moved = {name: left[spare.index(name)] for name in missing if missing.count(name) == spare.count(name) == 1}
    return [folder or moved.get(_learned(key)) for key, folder in zip(keys, found, strict=True)]


def free_numbers(sweep: Path) -> Iterator[int]:
    """Numbers for folders of new jobs: those of folders that hold nothing, and then those of none."""
    taken = {path.name for path in sweep.glob("*") if path.is_dir() and _holds_something(path)}
    return (number for number in itertools.count() if str(number) not in taken)


def newest_sweep(beside: Path) -> Path | None:
    """The sweep that was begun last among those in one folder.

    Args:
        beside: where a further sweep would lie.
    """
    begun = [file.parent for file in beside.parent.glob("*/multirun.yaml")]
    return max(begun, key=lambda path: path.stat().st_mtime, default=None)


def _read(file: Path) -> JobFolder:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{file} cannot be read ({error}): bring it back, or remove that folder.") from error
    return JobFolder(file.parent, record)


def _place(file: Path) -> tuple[bool, int, str]:
    """Numbers in their order, other names after them."""
    name = file.parent.name
    return (False, int(name), name) if name.isdecimal() else (True, 0, name)


def _learned(key: str) -> str:
    return key.partition("-")[0]


def _holds_something(folder: Path) -> bool:
    """Whether there is anything but what a writer that was killed has left."""
    return any(not path.name.startswith(".") for path in folder.iterdir())
