"""`experiment.compare`: which rows of a paper's table the report compares with which."""

import difflib
from collections.abc import Collection
from typing import Any

from kidney_lab.errors import InputError

_EXAMPLE = "experiment.compare={Without Res: Full, Without Res and DS: [Full, Without Res]}"


def row_pairs(compare: Any) -> list[tuple[str, str]]:
    """Reads the setting.

    Args:
        compare: for a row the one that it is compared with, or several in a list; None: nothing is chosen.

    Returns:
        Pairs, in order: the first is compared with the second.

    Raises:
        InputError: it is no such mapping, or compares a row with itself.

    >>> row_pairs({"A": "B", "C": ["A", "B"]})
    [('A', 'B'), ('C', 'A'), ('C', 'B')]
    """
    if compare is None:
        return []
    if not isinstance(compare, dict):
        raise InputError(f"experiment.compare={compare!r} names no pairs of rows: write it as in {_EXAMPLE}.")
    pairs = []
    for row, others in compare.items():
        for other in others if isinstance(others, list) else [others]:
            if other is None or isinstance(other, dict | list):
                raise InputError(f"experiment.compare.{row}={others!r} names no row: write it as in {_EXAMPLE}.")
            pairs.append((str(row), str(other)))
    if itself := next((row for row, other in pairs if row == other), None):
        raise InputError(
            f"experiment.compare compares the row {itself!r} with itself: name another one, or leave it out."
        )
    return pairs


def check_pairs(pairs: Collection[tuple[str, str]], rows: Collection[str], table: str) -> None:
    """Makes sure that pairs are of a table's rows.

    Raises:
        InputError: a name is that of no row.
    """
    for name in (name for pair in pairs for name in pair):
        if name not in rows:
            close = difflib.get_close_matches(name, rows, n=1)
            guess = f" (did you mean {close[0]}?)" if close else ""
            raise InputError(
                f"experiment.compare names {name!r}, which is no row of {table}{guess}: choose among {'; '.join(rows)}."
            )
