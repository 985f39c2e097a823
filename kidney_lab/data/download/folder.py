"""The folder that a dataset goes into, kept for one download alone."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kidney_lab.errors import InputError

_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EBADF, errno.EINVAL, errno.ENOSYS}


@contextmanager
def writable_folder(root: Path) -> Iterator[None]:
    """Makes the folder and keeps other downloads out of it: two that append to one file would spoil it.

    Args:
        root: folder of the dataset.

    Raises:
        InputError: it cannot be made or written, or another download is at work in it.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise InputError(f"data.root={root} cannot be made ({error.strerror}): name another folder.") from error
    try:
        _lock(handle, root)
        if not os.access(root, os.W_OK | os.X_OK):
            raise InputError(f"data.root={root} cannot be written: change its permissions or name another folder.")
        yield
    finally:
        os.close(handle)


def _lock(handle: int, root: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(f"Another download is writing into data.root={root}: wait until it has ended.") from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:  # some network file systems have none: there it is up to the user
            raise
