"""Worker processes: started afresh with one thread each, and gone when the process that started them is."""

import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def worker_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes that are started by "spawn", which is safe with threads and the same on every system.

    Many workers of many threads would slow each other down: each gets one.

    Args:
        workers: number of processes.

    Yields:
        The pool; it is closed with the block.
    """
    forget_loky()
    spawn = multiprocessing.get_context("spawn")
    with _single_threaded(), ProcessPoolExecutor(workers, spawn, initializer=end_with_parent) as pool:
        yield pool


def forget_loky() -> None:
    """Makes "spawn" the method where Hydra's joblib launcher made it loky, which a spawned process does not know."""
    if multiprocessing.get_start_method(allow_none=True) == "loky":
        multiprocessing.set_start_method("spawn", force=True)


def end_with_parent(after_s: float = 0.0) -> None:
    """Ends this process when the one that started it is killed; it would else wait for work for ever.

    Args:
        after_s: seconds that it has to end by itself.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        time.sleep(after_s)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _single_threaded() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
