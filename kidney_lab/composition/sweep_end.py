"""What a sweep ends with where some of its jobs are not finished."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

from hydra.core.utils import JobReturn, JobStatus

from kidney_lab.composition.sweep_folders import NOT_STARTED, JobFolder
from kidney_lab.errors import BatchError, InputError

_DONE: Final = ("finished", "running", "waiting")
"""Jobs that need nothing more of this command: the last two are another one's."""


def job_errors(launched: Collection[int], returned: Sequence[JobReturn]) -> dict[int, str]:
    """What ended the jobs that failed, by their places."""
    return {
        place: " ".join(first_line(job._return_value).split())
        for place, job in zip(launched, returned, strict=True)
        if job.status == JobStatus.FAILED
    }


def tell_unfinished(folders: Sequence[JobFolder | None], sweep: Path) -> None:
    """Ends a sweep some of whose jobs have failed, were interrupted or have not begun.

    Raises:
        InputError: all of them failed, by wrong input.
        BatchError: otherwise.
    """
    failed = [folder for folder in folders if folder is not None and folder.status == "failed"]
    others = [folder for folder in folders if folder is None or folder.status not in ("failed", *_DONE)]
    if not failed and not others:
        return
    ended = [
        f"{len(failed)} of {len(folders)} jobs failed: {', '.join(folder.path.name for folder in failed)} (see run.log "
        f"in their folders, and {sweep / 'sweep.csv'})"
    ]
    left = [f"{len(others)} of {len(folders)} jobs did not end: {_statuses(others)} (see {sweep / 'sweep.csv'})"]
    sentence = "; ".join([*(ended if failed else []), *(left if others else []), how_to_go_on(sweep)])
    codes: list[Any] = [folder.record.get("job", {}).get("exit_code") for folder in failed]
    raise (InputError if codes == [2] * len(folders) else BatchError)(sentence)


def _statuses(folders: Sequence[JobFolder | None]) -> str:
    return ", ".join(NOT_STARTED if folder is None else f"{folder.path.name} ({folder.status})" for folder in folders)


def first_line(error: Exception) -> str:
    """The kind of an error and the first line of its message."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def how_to_go_on(sweep: Path) -> str:
    """The command that goes on with a sweep, in words."""
    return f"the same command with sweep.resume=true hydra.sweep.dir={sweep} goes on with what is not finished."
