"""Files that are either whole or not there."""

import errno
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from kidney_lab.errors import InputError

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Error numbers of the system that say so."""

LEFT_AFTER_S: Final = 60.0
"""Seconds that no process stays in a block of `alone`."""


def make_folder(path: Path) -> Path:
    """Makes a folder and those above it, unless they are there.

    Args:
        path: of the folder.

    Returns:
        The path.

    Raises:
        InputError: a file is in its place, or it may not be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{path} cannot be a folder, since a file is in its place: name another.") from error
    except OSError as error:
        if error.errno in DISK_FULL:
            raise
        raise InputError(f"{path} cannot be made ({error.strerror}): name a folder that you may write to.") from error
    return path


@contextmanager
def alone(folder: Path, left_after_s: float = LEFT_AFTER_S) -> Iterator[None]:
    """Lets one at a time of all processes that share a folder into the block, for moments; the others wait.

    That a folder is made by one process alone is what file systems of networks promise too, unlike locks of files.

    Args:
        folder: that they share; it is made.
        left_after_s: seconds after which one that is still in the block counts as killed there.
    """
    lock = make_folder(folder) / ".lock"
    while True:
        try:
            lock.mkdir()
            break
        except FileExistsError:
            with suppress(FileNotFoundError):  # it has left meanwhile
                if time.time() - lock.stat().st_mtime > left_after_s:
                    lock.rename(lock.with_name(f".{uuid.uuid4().hex}.lock")).rmdir()  # one of those that wait does it
            time.sleep(0.02)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            lock.rmdir()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary name beside `path`, which takes its place when the block ends without an error.

    Args:
        path: of the finished file; its folder is made.

    Yields:
        The name to write to; it keeps the suffixes of `path`, since writers choose formats by them.
    """
    make_folder(path.parent)
    temporary = path.with_name(f".{uuid.uuid4().hex}.{path.name}")  # other machines may write beside it
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 text file as a whole; one that reads so already is left alone, so its folder may be read-only."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
