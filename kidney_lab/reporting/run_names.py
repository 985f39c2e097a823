"""Names of runs that stand in one report: short, and unlike each other."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kidney_lab.reporting.runs import Run

_LONGEST = 60  # characters of overrides; the end of a path says more than longer ones


def told_apart(runs: "Sequence[Run]") -> "list[Run]":
    """Renames runs of which several have the same name.

    Args:
        runs: under the names that they gave themselves.

    Returns:
        The same runs, each with a name of its own: one of a paper's table has that of its row, with the seed where
        runs of the row differ by it; others add the overrides that tell them apart. What is still alike adds the end of
        its path.
    """
    if len({run.name for run in runs}) == len(runs):
        return list(runs)
    return _by_path(_by_overrides(_by_row(runs)))


def _by_row(runs: "Sequence[Run]") -> "list[Run]":
    """Names the runs of tables by their rows; of several tables, by these too, or by their papers where these do."""
    tables = {run.experiment[0] for run in runs if run.experiment}
    papers = {table.partition("/")[0] for table in tables}
    prefix = {table: table.partition("/")[0] if len(papers) == len(tables) else table for table in tables}
    seeds: dict[tuple[str, str], set[object]] = {}
    for run in runs:
        if run.experiment:
            seeds.setdefault(run.experiment, set()).add(run.record.get("seed"))
    named = []
    for run in runs:
        if run.experiment:
            table, row = run.experiment
            seed = f", seed {run.record.get('seed')}" if len(seeds[run.experiment]) > 1 else ""
            name = f"{f'{prefix[table]}: ' if len(tables) > 1 else ''}{row}{seed}{run.mark}"
            named.append(replace(run, name=name))
        else:
            named.append(run)
    return named


def _by_overrides(runs: "Sequence[Run]") -> "list[Run]":
    """Adds to the names of other trainings the overrides that not all of them have."""
    free = [run for run in runs if not (run.experiment or run.scores_only or run.untrained)]
    if len({run.name for run in free}) == len(free):
        return list(runs)
    common = set.intersection(*(set(run.overrides) for run in free))
    added = {run.path: ", ".join(item for item in run.overrides if item not in common) for run in free}
    if max(map(len, added.values())) > _LONGEST:
        return list(runs)
    return [replace(run, name=f"{run.name} ({added[run.path]})") if added.get(run.path) else run for run in runs]


def _by_path(runs: "Sequence[Run]") -> "list[Run]":
    """Adds to names that are still alike the shortest ends of the paths that are not."""
    taken = Counter(run.name for run in runs)
    ends = {name: _ends([run.path.resolve() for run in runs if run.name == name]) for name, n in taken.items() if n > 1}
    return [
        replace(run, name=f"{run.name} ({ends[run.name][run.path.resolve()]})") if run.name in ends else run
        for run in runs
    ]


def _ends(paths: Sequence[Path]) -> dict[Path, str]:
    """The end of each path, of as many parts as tell all of them apart.

    >>> sorted(_ends([Path("/runs/a/0"), Path("/runs/b/0")]).values())
    ['a/0', 'b/0']
    """
    longest = max(len(path.parts) for path in paths)
    for n in count(1):
        ends = {path: "/".join(path.parts[-n:]) for path in paths}
        if len(set(ends.values())) == len(ends) or n >= longest:
            break
    return ends
