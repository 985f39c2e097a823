"""Which values of a table are the best of their column, where it is known which values are better."""

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from kidney_lab.reporting.metric_words import better_by_arrow

_OF_THE_MACHINE: Final = re.compile(r"\((?:s|MiB|GiB)\)")
"""Units of what the machine, and what else it did, decides as much as the method: none of these values is the best."""


@dataclass(frozen=True)
class Candidate:
    """A value of a table.

    Args:
        row: number of its row, from 0.
        column: number of its cell in the row, from 0.
        cell: as shown; what begins with no number is no value.
        title: of the metric, with the arrow that says which values are better.
        group: values are set against those of the same group.
    """

    row: int
    column: int
    cell: str
    title: str
    group: Hashable


def best_cells(candidates: Iterable[Candidate]) -> frozenset[tuple[int, int]]:
    """Rows and columns of the best values, as they are shown: two that are equal in their decimals are both best.

    Args:
        candidates: values; where all of a group are alike, as one that stands alone, none is the best, and none of
            seconds and of memory is.

    >>> sorted(best_cells([Candidate(k, 1, cell, "Dice ↑", "a") for k, cell in enumerate(["0.8 [0, 1]", "0.9", "—"])]))
    [(1, 1)]
    """
    groups: dict[tuple[Hashable, str], list[tuple[float, Candidate]]] = {}
    for candidate in candidates:
        value, better = _number(candidate.cell), better_by_arrow(candidate.title)
        if value is not None and better is not None and not _OF_THE_MACHINE.search(candidate.title):
            cost = {"higher": -value, "lower": value, "zero": abs(value)}[better]
            groups.setdefault((candidate.group, candidate.title), []).append((cost, candidate))
    best = set()
    for together in groups.values():
        costs = {cost for cost, _ in together}
        best |= {(one.row, one.column) for cost, one in together if len(costs) > 1 and cost == min(costs)}
    return frozenset(best)


def best_in_groups(
    rows: Sequence[Sequence[str]], columns: Iterable[int], title: Callable[[Sequence[str], int], str]
) -> frozenset[tuple[int, int]]:
    """The best values of each column among the rows that begin with the same cell.

    Args:
        rows: cells of a table.
        columns: that hold values.
        title: of the metric in a row and a column.
    """
    places = list(columns)
    return best_cells(
        Candidate(index, column, cells[column], title(cells, column), (cells[0], column))
        for index, cells in enumerate(rows)
        for column in places
    )


def _number(cell: str) -> float | None:
    try:
        return float(cell.partition(" ")[0])
    except ValueError:
        return None
