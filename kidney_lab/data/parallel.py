"""Work on many cases at once: the largest first, each worker with one case in memory, and no worker lost in silence."""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import Progress

from kidney_lab.errors import InputError
from kidney_lab.memory import available_mib, cores
from kidney_lab.processes import worker_pool

_MOST_WORKERS = 8
_SHARE = 0.8  # of the memory that is free: the rest is for the page cache and for others

_log = logging.getLogger(__name__)


class HasFiles(Protocol):
    """A case, as far as this file knows it: a name, and the files whose size says how much work it is."""

    @property
    def id(self) -> str:
        """Name of the case."""
        ...

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that are read."""
        ...


C = TypeVar("C", bound=HasFiles)
T = TypeVar("T")


def over_cases(
    function: Callable[[C], T],
    cases: Sequence[C],
    *,
    workers: int | None,
    title: str,
    progress: bool = True,
    need: Callable[[C], float] | None = None,
) -> Iterator[tuple[C, T]]:
    """Applies a function to every case, the largest first, in processes that hold one case at a time.

    Args:
        function: picklable; run in this process where `workers` is 1.
        cases: what to work on.
        workers: number of processes, started by "spawn", with one thread each; None: one per core, at most 8.
        title: of the progress bar, and of the lines in the log where there is no terminal.
        progress: whether to show progress at all.
        need: MiB that a worker needs for a case; with `workers` None, no more are started than free memory holds.

    Yields:
        A case and its result, in the order in which they are done.

    Raises:
        InputError: a worker process died; names the cases that were in work.
    """
    queue = sorted(cases, key=_bytes, reverse=True)
    workers = min(workers or default_workers(queue, need), len(queue))
    results = _parallel(function, queue, workers) if workers > 1 else ((case, function(case)) for case in queue)
    console = Console(stderr=True)
    with Progress(console=console, disable=not (progress and console.is_terminal)) as bar:
        task = bar.add_task(title, total=len(queue))
        for done, result in enumerate(results, start=1):
            bar.advance(task)
            if progress and not console.is_terminal and done * 10 // len(queue) > (done - 1) * 10 // len(queue):
                _log.info("%s: %d of %d cases", title, done, len(queue))
            yield result


def default_workers(cases: Sequence[C], need: Callable[[C], float] | None) -> int:
    """One worker per core, at most 8, and no more than free memory holds if each met the largest case."""
    workers, free = min(_MOST_WORKERS, cores()), available_mib()
    if need is None or free is None or workers == 1 or not cases:
        return workers
    largest = max(need(case) for case in cases)
    fitting = max(1, int(_SHARE * free / largest))
    if fitting < workers:
        _log.warning("%d workers instead of %d: a case needs up to %.0f MiB.", fitting, workers, largest)
    return min(workers, fitting)


def _bytes(case: HasFiles) -> int:
    return sum(path.stat().st_size for path in case.files if path.exists())


def _parallel(function: Callable[[C], T], queue: Sequence[C], workers: int) -> Iterator[tuple[C, T]]:
    """Keeps `workers` cases in work, no more, so that those that were lost with a worker are known."""
    waiting = iter(queue)
    in_work: dict[Future[T], C] = {}
    with worker_pool(workers) as pool:
        try:
            while True:
                for case in _take(waiting, workers - len(in_work)):
                    in_work[pool.submit(function, case)] = case
                if not in_work:
                    return
                for future in wait(in_work, return_when=FIRST_COMPLETED).done:
                    result = future.result()
                    yield in_work.pop(future), result
        except BrokenProcessPool as error:
            raise InputError(
                f"A worker process died while these cases were in work: {', '.join(c.id for c in in_work.values())}. "
                "The machine most likely ran out of memory: run again with prepare.workers=1 (what is done is kept)."
            ) from error


def _take(items: Iterator[C], n: int) -> list[C]:
    return [item for _, item in zip(range(n), items, strict=False)]
