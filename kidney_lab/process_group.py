"""The processes that share a computation, as torch's process group: their places, and what they tell each other.

A process that is alone is in no group: it is the first of one, and waits for nobody.
"""

from collections.abc import Callable
from typing import TypeVar

from torch import distributed

T = TypeVar("T")


def in_group() -> bool:
    """Whether other processes share the computation."""
    return distributed.is_available() and distributed.is_initialized()


def place() -> tuple[int, int]:
    """The rank of this process, from 0 on, and the number of processes."""
    return (distributed.get_rank(), distributed.get_world_size()) if in_group() else (0, 1)


def wait_for_all() -> None:
    """Waits until every process has come here."""
    if in_group():
        distributed.barrier()


def from_first(function: Callable[[], T]) -> T:
    """What a function gives in the first process, where alone it is called; every process gets it."""
    if not in_group():
        return function()
    answer = [function() if distributed.get_rank() == 0 else None]
    distributed.broadcast_object_list(answer)
    return answer[0]  # type: ignore[return-value]  # None only where the function itself gives it


def of_all(value: T) -> list[T]:
    """What every process gives, in their order."""
    if not in_group():
        return [value]
    values = [value] * distributed.get_world_size()
    distributed.all_gather_object(values, value)
    return values
