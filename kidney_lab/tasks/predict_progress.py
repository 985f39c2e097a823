"""Progress bars of `task=predict`: one of the stage that the scan at hand is in, and one of all scans."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from kidney_lab.progress import listening


class ScanBars:
    """Bars that are shown while the object is entered as `with ScanBars.of(n) as bars`.

    Args:
        progress: that draws them.
        n_scans: in all; a single one has no bar of all scans.
    """

    def __init__(self, progress: Progress, n_scans: int) -> None:
        self._progress = progress
        self._all = progress.add_task("all scans", total=n_scans) if n_scans > 1 else None
        self._stage: tuple[str, TaskID] | None = None

    @classmethod
    @contextmanager
    def of(cls, n_scans: int) -> Iterator["ScanBars"]:
        """Shows the bars while the block runs; off a terminal there are none."""
        columns = (
            TextColumn("{task.description}", markup=False),  # names of scans may hold brackets
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        console = Console()
        with Progress(*columns, console=console, disable=not console.is_interactive) as progress:
            yield cls(progress, n_scans)

    @contextmanager
    def scan(self, name: str) -> Iterator[None]:
        """Shows how far a scan has come while the block runs; then it counts as done, if only with an error."""
        try:
            with listening(lambda stage, done, total: self._show(f"{name}: {stage}", done, total)):
                yield
        finally:
            self._end_stage()
            if self._all is not None:
                self._progress.advance(self._all)

    def _show(self, stage: str, done: int, total: int) -> None:
        if self._stage is None or self._stage[0] != stage:
            self._end_stage()
            self._stage = stage, self._progress.add_task(stage, total=total or None)  # rich keeps a total once set
        self._progress.update(self._stage[1], completed=done)

    def _end_stage(self) -> None:
        if self._stage is not None:
            self._progress.remove_task(self._stage[1])
            self._stage = None
