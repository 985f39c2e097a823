"""Threads that an interrupt leaves behind at once: waiting for a stalled server to time out would hold up Ctrl-C."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_threads(
    function: Callable[[T], R], items: Sequence[T], workers: int, stopped: threading.Event
) -> Iterator[tuple[T, Future[R]]]:
    """Applies a function to every item, in order, in daemon threads (those of an executor are waited for at exit).

    Args:
        function: what to do.
        items: with what.
        workers: number of threads.
        stopped: once set, no further item is begun; whoever leaves the iteration early sets it.

    Yields:
        An item and its finished future, in the order in which they are done.
    """
    todo: SimpleQueue[T] = SimpleQueue()
    done: SimpleQueue[tuple[T, Future[R]]] = SimpleQueue()
    for item in items:
        todo.put(item)

    def work() -> None:
        while not stopped.is_set():
            try:
                item = todo.get_nowait()
            except Empty:
                return
            future: Future[R] = Future()
            try:
                future.set_result(function(item))
            except BaseException as error:
                future.set_exception(error)
            done.put((item, future))

    for _ in range(min(workers, len(items))):
        threading.Thread(target=work, daemon=True).start()
    for _ in items:
        yield done.get()
