"""Signs of life of a process that writes a file, for others on this machine and on machines that share the folder."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

BEAT_S: Final = 15.0
"""Seconds between two signs of life."""
SILENCE_S: Final = 120.0
"""Seconds without any after which a process is gone."""


def this_process() -> dict[str, Any]:
    """Names this process as `is_alive` takes it."""
    return {"host": socket.gethostname(), "pid": os.getpid()}


@contextmanager
def beating(file: Path, every_s: float = BEAT_S) -> Iterator[None]:
    """Renews the time of a file while the block runs.

    Args:
        file: that shows the signs of life; it may be replaced meanwhile.
        every_s: seconds between two.
    """
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(every_s):
            with suppress(OSError):  # a sign that is lost does no harm; the next one comes
                os.utime(file)

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def is_alive(process: dict[str, Any], file: Path) -> bool:
    """Whether a process still gives signs of life.

    On another machine the file's time alone tells; here a process that has ended is known at once.

    Args:
        process: see `this_process`.
        file: that it keeps renewing, see `beating`.
    """
    if process["host"] == socket.gethostname() and not _runs(int(process["pid"])):
        return False
    return time.time() - file.stat().st_mtime < SILENCE_S


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's
    return True
