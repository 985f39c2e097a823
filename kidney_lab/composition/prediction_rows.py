"""Rows of a table that are folders of predictions: `rows: {nnU-Net: {predictions: DIR}}`.

Nothing is trained for such a row, by whatever tool its label maps were made: a job scores them on the test cases of the
table's data, as the other rows are. Any table takes one from the command line: `+rows.nnU-Net.predictions=DIR`.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from kidney_lab.composition.arguments import quote_path, unquote
from kidney_lab.errors import InputError

TASK: Final = "task=predictions"
"""Override that makes a job one that scores a folder."""

ROWS: Final = "rows."
"""Beginning of the keys by which the command line says what a row is."""

_KEY: Final = "predictions"

log = logging.getLogger(__name__)


def with_prediction_rows(rows: dict[Any, Any], table: str) -> dict[Any, Any]:
    """Writes rows that are folders of predictions as the overrides that run them.

    Args:
        rows: of a table, each a list of overrides, or `{predictions: DIR}`; DIR is null where nobody has named one.
        table: its name, for messages.

    Returns:
        The rows, without those whose folder is not named: these are told.

    Raises:
        InputError: a row says something else than where its predictions are.

    >>> with_prediction_rows({"PM": ["model=x"], "nnU-Net": {"predictions": "a b"}}, "mine/table1")
    {'PM': ['model=x'], 'nnU-Net': ['task=predictions', "predictions='a b'"]}
    """
    found: dict[Any, Any] = {}
    for row, said in rows.items():
        if not isinstance(said, dict):
            found[row] = said
            continue
        folder = said.get(_KEY)
        if set(said) != {_KEY} or not (folder is None or (isinstance(folder, str | int | float) and str(folder))):
            raise InputError(
                f"{table}: row {row!r} is {said!r}, but must be a list of overrides, or predictions: DIR, a folder of "
                "label maps."
            )
        if folder is None:
            log.warning(
                "%s: the row %s is left out, since it is a folder of label maps that is not named: add "
                "rows.%s.predictions=DIR.",
                table,
                row,
                row,
            )
        else:
            found[row] = [TASK, f"{_KEY}={quote_path(str(folder))}"]
    return found


def check_predictions(rows: Mapping[str, Sequence[str]]) -> None:
    """Makes sure, before any other row is trained, that the folders of label maps are there.

    Args:
        rows: of a table, see `with_prediction_rows`.

    Raises:
        InputError: one is not.
    """
    for row, overrides in rows.items():
        if TASK not in overrides:
            continue
        folder = next(unquote(item.partition("=")[2]) for item in overrides if item.startswith(f"{_KEY}="))
        if not Path(folder).expanduser().is_dir():
            raise InputError(f"{ROWS}{row}.{_KEY}={folder} is no folder: name one of label maps, or leave the row out.")


def scored_once(jobs: Sequence[list[str]]) -> list[list[str]]:
    """Leaves one job of those that score the same folder with several seeds, of which they have none.

    Args:
        jobs: overrides of each.

    Returns:
        The others as they were, in order.
    """
    found: list[list[str]] = []
    for job in jobs:
        seedless = [item for item in job if not item.startswith("seed=")]
        if TASK not in job:
            found.append(job)
        elif seedless not in found:
            found.append(seedless)
    return found
