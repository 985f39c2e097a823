"""How far a download is: a bar on a terminal, a line now and then in a log."""

import threading
import time
from types import TracebackType

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

_LINES = 20  # that a whole download leaves in a log


class Meter:
    """Counts bytes from many threads, and shows them on standard error.

    Args:
        total: bytes of all the files.
        done: bytes of them that are here already.
        console: where to show it.
    """

    def __init__(self, total: int, done: int, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._total, self._done, self._before = total, done, done
        self._step = self._steps()
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("Downloading", total=total, completed=done)

    def __enter__(self) -> "Meter":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, n: int) -> None:
        """Counts `n` bytes more, or less where some were thrown away."""
        with self._lock:
            self._done += n
            self._bar.advance(self._task, n)
            if self._bar.disable and self._steps() > self._step:
                self._step = self._steps()
                self._console.print(self._line(), highlight=False, soft_wrap=True)

    def _steps(self) -> int:
        return _LINES * min(self._done, self._total) // max(1, self._total)

    def _line(self) -> str:
        speed = (self._done - self._before) / max(1e-3, time.monotonic() - self._started)
        share = 100 * self._done // max(1, self._total)
        return f"{share} %: {decimal(self._done)} of {decimal(self._total)}, {decimal(int(speed))}/s"
