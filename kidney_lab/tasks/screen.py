"""The screen as the log of tasks that make no run."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class _Screen(logging.StreamHandler[TextIO]):
    """Writes to what standard output is at the time, since a progress bar stands in for it while it is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        self.setStream(sys.stdout)
        super().emit(record)


@contextmanager
def log_to_screen() -> Iterator[None]:
    """Shows the project's log on the screen, each entry as a line, while the block runs."""
    logger, screen = logging.getLogger("kidney_lab"), _Screen(sys.stdout)
    before = logger.level, logger.propagate
    logger.addHandler(screen)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(screen)
        logger.level, logger.propagate = before
