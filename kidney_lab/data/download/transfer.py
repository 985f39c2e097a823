"""Many files at a time: what cannot be had is told at the end and keeps nothing else back."""

import errno
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import requests

from kidney_lab.data.download.fetch import fetch
from kidney_lab.data.download.http import FetchError, Patience, RefusedError
from kidney_lab.data.download.meter import Meter
from kidney_lab.data.download.plan import bytes_here, bytes_of
from kidney_lab.data.download.source import RemoteFile
from kidney_lab.data.download.threads import in_threads
from kidney_lab.errors import InputError
from kidney_lab.wording import counted

_GIVE_UP = 10  # files in a row that fail: the network or the server is gone, and asking for each file takes hours
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass
class Outcome:
    """What came of fetching files.

    Args:
        fetched: number of files that came.
        problems: a sentence for each that did not.
        again: whether another run may bring more: false where every answer was final.
    """

    fetched: int = 0
    problems: list[str] = field(default_factory=list)
    again: bool = False


def fetch_all(
    session: requests.Session, files: Sequence[RemoteFile], root: Path, *, workers: int, patience: Patience
) -> Outcome:
    """Fetches files; those that cannot be had do not keep the others back.

    Args:
        session: serves all threads.
        files: to be fetched, with the sizes that are known.
        root: folder of the dataset.
        workers: files at a time.
        patience: with the servers.

    Returns:
        How many files came, and what kept the others.

    Raises:
        InputError: the disk is full, or a file cannot be written.
    """
    stopped = threading.Event()
    outcome = Outcome()
    in_a_row = 0
    with Meter(bytes_of(files), bytes_here(files, root)) as meter:

        def work(file: RemoteFile) -> None:
            fetch(session, file, root, patience=patience, stopped=stopped, on_bytes=meter.advance)

        try:
            for n, (file, done) in enumerate(in_threads(work, files, workers, stopped), start=1):
                error = done.exception()
                if isinstance(error, OSError):
                    raise _explained(error, root / file.path, root) from error
                if error is not None and not isinstance(error, FetchError):
                    raise error
                if error is None:
                    outcome.fetched, in_a_row = outcome.fetched + 1, 0
                    continue
                outcome.problems.append(f"{file.path} from {file.url}: {error}.")
                outcome.again |= not isinstance(error, RefusedError) or error.for_now
                in_a_row += 1
                if in_a_row == _GIVE_UP and n < len(files):
                    left = counted(len(files) - n, "more file")
                    outcome.problems.append(f"{left} not tried, since {_GIVE_UP} in a row failed.")
                    break
        finally:
            stopped.set()
    return outcome


def _explained(error: OSError, path: Path, root: Path) -> InputError:
    if error.errno in _FULL:
        return InputError(
            f"The disk that holds data.root={root} is full ({error.strerror}): free some space and run again; what "
            "has come is kept."
        )
    if error.errno is None:  # of requests: the certificates that the environment names are not there
        return InputError(f"{path} cannot be fetched: {error}.")
    return InputError(f"{path} cannot be written ({error.strerror}): mend that and run again; what has come is kept.")
