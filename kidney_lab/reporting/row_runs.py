"""Which runs count for the rows of papers' tables: finished ones, each training once; and of which code they are."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from kidney_lab.composition.decisive import is_decisive
from kidney_lab.reporting.runs import Run
from kidney_lab.wording import counted

RowKey = tuple[str, str, str, str, str, frozenset[str]]

_REPEATED: Final = ("seed", "trainer.devices", "trainer.accelerator", "trainer.num_nodes")
"""Keys that decide what a run gives, and in which runs of one row may differ and still be repetitions of it."""


def row_key(run: Run) -> RowKey | None:
    """What runs of one row on the same cases share.

    Args:
        run: of a report.

    Returns:
        Table, row, dataset, split and kind of images, and the overrides that say what was learned; None for a run of no
        table, or without scores.
    """
    if run.experiment is None or run.metrics.empty:
        return None
    data = (str(run.data.get("name")), str(run.data.get("split_hash")), str(run.synthesized))
    return (*run.experiment, *data, frozenset(item for item in run.overrides if not _is_of_the_job(item)))


def choose_runs(runs: Iterable[Run]) -> tuple[list[Run], list[str]]:
    """Leaves out what would count wrongly in the mean of a row.

    Args:
        runs: of a report; those of no table, and those without scores yet, are left out without a word.

    Returns:
        Runs in their order: without those that have not finished, and of runs of one row with the same configuration
        and seed, such as copies of a folder, the one that began last; and a sentence on each that is left out.
    """
    of_rows = [(run, key) for run in runs if (key := row_key(run))]
    finished = [(run, key) for run, key in of_rows if _status(run) == "finished"]
    latest: dict[tuple[RowKey, str, str], Run] = {}
    for run, key in finished:
        if (training := _training(run)) is not None:
            kept = latest.setdefault((key, *training), run)
            if str(run.record.get("started")) > str(kept.record.get("started")):
                latest[key, *training] = run
    chosen = [run for run, key in finished if (same := _training(run)) is None or latest[key, *same] is run]
    notes = [
        f"Not counted in the means of rows, since its training has not finished ({_status(run)}): {run.name}."
        for run, _ in of_rows
        if _status(run) != "finished"
    ]
    for run, key in finished:
        if run not in chosen and (training := _training(run)) is not None:
            notes.append(
                f"Not counted in the means of rows: {run.name} is the same training, with the same seed, as "
                f"{latest[key, *training].name}, which began last."
            )
    return chosen, notes


def code_notes(runs: Sequence[Run]) -> list[str]:
    """Sentences on runs of one table that are not of the same code, and on code that no commit says.

    Args:
        runs: of the table.
    """
    commits = Counter(str(run.record["commit"])[:12] for run in runs if run.record.get("commit"))
    notes = []
    if len(commits) > 1:
        listed = ", ".join(f"{commit} ({counted(n, 'run')})" for commit, n in commits.items())
        notes.append(f"The runs are of {len(commits)} commits, so that the code may be what rows differ by: {listed}.")
    if dirty := sum(bool(run.record.get("dirty")) for run in runs):
        notes.append(
            f"{dirty} of {counted(len(runs), 'run')} had uncommitted changes, so that no commit says the code."
        )
    return notes


def _is_of_the_job(override: str) -> bool:
    key = override.lstrip("+~").partition("=")[0]
    return key in _REPEATED or not is_decisive(key)


def _status(run: Run) -> str:
    return str(run.record.get("status", "finished"))  # a record without one was made by hand


def _training(run: Run) -> tuple[str, str] | None:
    """Configuration and seed; None where they are not known, as for label maps of another tool."""
    known = (run.record.get("config_hash"), run.record.get("seed"))
    return None if None in known or run.untrained else (str(known[0]), str(known[1]))
