"""The rows of a paper's table as jobs of a sweep: `python -m kidney_lab -m +experiments=<paper>/<table>`.

A table is an experiment whose file holds `rows: {<published row>: [overrides]}`, `seeds: [0, 1, 2]` and what all of its
rows share. Rows are bundles of overrides and no product; what the command line sweeps over multiplies them.
"""

import difflib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from kidney_lab.composition.arguments import quote_path
from kidney_lab.composition.messages import USER_ERRORS, describe
from kidney_lab.composition.prediction_rows import ROWS, scored_once, with_prediction_rows
from kidney_lab.composition.row_pairs import check_pairs, row_pairs
from kidney_lab.errors import InputError

_ROW: Final = "experiment.row"
_EXAMPLE: Final = "rows: {PM: [model=cascade_unet], Vanilla 3D U-Net: [model=unet3d]}"


@dataclass(frozen=True)
class Table:
    """A table of a paper.

    Args:
        name: `<paper>/<table>`, under which its published numbers are found.
        rows: overrides that run a row, by its published name.
        seeds: of the jobs of each row; None: the one of the configuration.
    """

    name: str
    rows: dict[str, list[str]]
    seeds: list[int] | None = None

    @classmethod
    def of(cls, config: DictConfig) -> "Table":
        """Reads the table out of a configuration that was composed with its file.

        Raises:
            InputError: the file is not that of a table, or compares what is no row of it.
        """
        name, rows, seeds = (_plain(config, key) for key in ("experiment.table", "rows", "seeds"))
        if not isinstance(name, str):
            raise InputError("experiment.table is not set: write <paper>/<table> there in the file of the table.")
        if not isinstance(rows, dict) or not rows:
            raise InputError(f"{name}: rows={rows!r} makes no table; write {_EXAMPLE}.")
        runnable = with_prediction_rows(rows, name)
        for row, overrides in runnable.items():
            if not isinstance(overrides, list) or not all(isinstance(item, str) for item in overrides):
                raise InputError(f"{name}: row {row!r} is {overrides!r}, but must be a list of overrides: {_EXAMPLE}.")
        if seeds is not None and not (isinstance(seeds, list) and seeds and all(type(seed) is int for seed in seeds)):
            raise InputError(f"{name}: seeds={seeds!r} must be a list of whole numbers such as [0, 1, 2].")
        table = cls(name, {str(row): overrides for row, overrides in runnable.items()}, seeds)
        check_pairs(row_pairs(_plain(config, "experiment.compare")), [str(row) for row in rows], name)
        return table


def table_jobs(table: Table, overrides: Sequence[Override]) -> list[list[str]]:
    """Lists the jobs of a table.

    Args:
        table: whose rows are run.
        overrides: of the command line. They apply to every row; those that sweep multiply the rows as in Hydra's basic
            sweeper; `seed` replaces the table's seeds; `experiment.row` chooses among its rows.

    Returns:
        Overrides of each job. All rows come before the next seed: a sweep that is cut short leaves whole tables.

    Raises:
        InputError: an unknown row, a row that cannot be read, or an override of what a row itself sets.
    """
    shared = [override for override in overrides if not override.key_or_group.startswith((_ROW, ROWS))]
    if table.seeds is not None and "seed" not in _keys(shared):
        shared += OverridesParser.create().parse_overrides([f"seed={','.join(map(str, table.seeds))}"])
    rows = _chosen_rows(table, [override for override in overrides if override.key_or_group == _ROW])
    for row in rows:
        _check_row(table, row, shared)
    # A job is one row: the others are not part of its configuration, nor of the hash by which it is known.
    deleted = ["~rows", *(["~seeds"] if table.seeds is not None else [])]
    return scored_once(
        [
            [*table.rows[row], *combination, f"{_ROW}={quote_path(row)}", *deleted]
            for combination in combinations(shared)
            for row in rows
        ]
    )


def combinations(overrides: Sequence[Override]) -> list[tuple[str, ...]]:
    """Every combination of what some overrides sweep over, as in Hydra's basic sweeper.

    Args:
        overrides: of the command line; the last of two of the same key wins.

    Returns:
        Overrides of each combination, which sweep no more.
    """
    choices: dict[str, list[str]] = {}
    for override in overrides:
        key = override.get_key_element()
        swept = override.is_sweep_override()
        choices[key] = [f"{key}={v}" for v in override.sweep_string_iterator()] if swept else [str(override.input_line)]
    return list(itertools.product(*choices.values()))


def check_experiment(config: DictConfig, overrides: Sequence[Override]) -> None:
    """Makes sure that a sweep is of one experiment at most.

    Raises:
        InputError: several are swept over, or a key of that name was given in the place of one.
    """
    several = [item for item in overrides if item.key_or_group == "experiments" and item.is_sweep_override()]
    if several:
        raise InputError(f"{several[0].input_line} names several experiments: run one after the other, each by itself.")
    refuse_named_so(config)


def refuse_named_so(config: DictConfig) -> None:
    """Makes sure that `experiment` is what the tables set, and not the name of one.

    Raises:
        InputError: it is a value.
    """
    if not OmegaConf.is_dict(config.experiment):
        raise InputError(
            f"experiment={config.experiment} is no experiment: write +experiments=<paper>/<table>, with the plus sign."
        )


def refuse_whole_table(config: DictConfig) -> None:
    """Makes sure that a job is no table, but at most one row of it.

    Raises:
        InputError: it is a table, which a sweep runs row by row.
    """
    if "rows" in config:
        name = config.experiment.table
        raise InputError(
            f"+experiments={name} is a table of {len(config.rows)} rows, and no single run: run it by python -m "
            f"kidney_lab -m +experiments={name}, with experiment.row=<row> for some of its rows."
        )


def _plain(config: DictConfig, key: str) -> Any:
    node = OmegaConf.select(config, key)
    return OmegaConf.to_container(node) if OmegaConf.is_config(node) else node


def _keys(overrides: Sequence[Override]) -> set[str]:
    return {override.key_or_group for override in overrides}


def _chosen_rows(table: Table, overrides: Sequence[Override]) -> list[str]:
    """Rows that the last `experiment.row` of the command line names, else all."""
    if not overrides:
        return list(table.rows)
    last = overrides[-1]
    values = list(last.sweep_iterator()) if last.is_discrete_sweep() else [last.value()]
    rows = [str(getattr(value, "text", value)) for value in values]  # a quoted string keeps its text apart
    for row in rows:
        if row not in table.rows:
            close = difflib.get_close_matches(row, table.rows, n=1)
            guess = f" (did you mean {close[0]}?)" if close else ""
            raise InputError(
                f"{_ROW}={row} is no row of {table.name}{guess}: choose among {'; '.join(table.rows)}, in quotes "
                "where a name holds a comma, and with commas between several."
            )
    return rows


def _check_row(table: Table, row: str, shared: Sequence[Override]) -> None:
    """Makes sure that a row says what it runs, and nothing on the command line says otherwise.

    Raises:
        InputError: it cannot be read, sweeps, or is overridden.
    """
    try:
        own = OverridesParser.create().parse_overrides(table.rows[row])
    except USER_ERRORS as error:
        raise InputError(f"{table.name}, row {row!r}: {describe(error, table.rows[row])}") from error
    sweeping = [override.input_line for override in own if override.is_sweep_override()]
    if sweeping:
        raise InputError(f"{table.name}, row {row!r}: {sweeping[0]} sweeps, but a row is one job; make it two rows.")
    both = sorted(_keys(own) & _keys(shared))
    if both:
        raise InputError(
            f"{both[0]}= is what row {row!r} of {table.name} itself sets, so that another value would not be that "
            f"row; leave it out, or choose other rows by {_ROW}=."
        )
