"""Shards: shares of a dataset's cases, for work that is spread over machines."""

import re
from collections.abc import Sequence
from typing import TypeVar

from kidney_lab.errors import InputError

T = TypeVar("T")


def parse_shard(shard: str | None) -> tuple[int, int]:
    """Reads a shard's name.

    Args:
        shard: `k/n`, the k-th of n, counted from 1; None is the whole.

    Returns:
        (k, n).

    Raises:
        InputError: it is no such name.
    """
    if shard is None:
        return 1, 1
    match = re.fullmatch(r"(\d+)/(\d+)", str(shard))
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise InputError(f"shard={shard} is no shard: give k/n, k from 1 to n, for example -m shard=1/2,2/2.")
    return int(match[1]), int(match[2])


def take_shard(items: Sequence[T], shard: str | None) -> list[T]:
    """Items of one shard: every n-th, so that all shards together hold each item once.

    Args:
        items: in the same order in every shard.
        shard: `k/n`, or None for all.

    Returns:
        Its share; empty where there are fewer items than shards.

    Raises:
        InputError: as `parse_shard`.
    """
    k, n = parse_shard(shard)
    return list(items[k - 1 :: n])
