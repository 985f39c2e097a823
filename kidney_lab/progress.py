"""How far a long computation has come, told to whoever listens.

Whoever loops over windows or slices tells it; whoever draws a progress bar listens. In between nobody needs to know of
either, and telling costs nothing where nobody listens.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[str, int, int], None]
"""Takes the name of the stage, how much of it is done, and how much it is in all."""

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)
_stage: ContextVar[str] = ContextVar("stage", default="")


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Has a listener told of everything that is done while the block runs."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def stage_named(name: str) -> Iterator[None]:
    """Gives what is done while the block runs a name; inner names win."""
    token = _stage.set(name)
    try:
        yield
    finally:
        _stage.reset(token)


def tell(done: int, total: int) -> None:
    """Tells how far the stage at hand has come.

    Args:
        done: windows, slices or whatever it is made of.
        total: how many there are; 0 where that is not known.

    >>> with listening(print), stage_named("coarse"):
    ...     tell(3, 8)
    coarse 3 8
    """
    listener = _listener.get()
    if listener is not None:
        listener(_stage.get(), done, total)
