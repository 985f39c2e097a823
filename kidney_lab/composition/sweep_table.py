"""The closing table of a sweep: what became of every job, on the screen and as `sweep.csv`."""

import csv
import io
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kidney_lab.composition.sweep_folders import NOT_STARTED, JobFolder
from kidney_lab.files import write_text

COLUMNS: Final = ("job", "row", "overrides", "status", "seconds", "folder", "error")
GONE: Final = "its process is gone: killed, or out of memory"


@dataclass(frozen=True)
class JobLine:
    """A job in the table.

    Args:
        row: of the paper's table; None outside of one.
        overrides: of the job.
        status: see `JobFolder.status`.
        folder: None where the job has not begun.
        seconds: that the job took, in all its attempts; None while it is unknown.
        error: in one line; empty without any.
    """

    row: str | None
    overrides: tuple[str, ...]
    status: str = NOT_STARTED
    folder: Path | None = None
    seconds: float | None = None
    error: str = ""

    @classmethod
    def of(cls, folder: JobFolder) -> "JobLine":
        """Reads what the record of a job says."""
        record, job = folder.record, folder.record.get("job", {})
        known = record.get("status", folder.status), record.get("before")
        return cls(
            row=job.get("row"),
            overrides=tuple(record.get("overrides", ())),
            status=folder.status,
            folder=folder.path,
            seconds=job.get("seconds", record.get("wall_time_s")),
            error=record.get("error", "") if folder.status in known else GONE,
        )


def cells(lines: Sequence[JobLine]) -> list[list[str]]:
    """The text of the table under `COLUMNS`, a row per job.

    Of the overrides those are left out that all jobs share, or all jobs of the same row of the paper's table.
    """
    table = []
    for line in lines:
        alike = [other.overrides for other in lines if other.row == line.row]
        shared = set(alike[0]).intersection(*alike) if len(alike) > 1 else set(line.overrides)
        seconds = "" if line.seconds is None else f"{line.seconds:.1f}"
        name = "" if line.folder is None else line.folder.name
        folder = "" if line.folder is None else str(line.folder)
        table.append([name, line.row or "", _words(line, shared), line.status, seconds, folder, line.error])
    return table


def write_table(lines: Sequence[JobLine], file: Path) -> None:
    """Writes the table as CSV with a header."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *cells(lines)])
    write_text(file, text.getvalue())


def print_table(lines: Sequence[JobLine], sweep: Path, console: Console | None = None) -> None:
    """Prints the table, without the columns that are empty; folders are the sweep's, by the numbers of the jobs.

    Args:
        lines: the jobs.
        sweep: folder of the sweep.
        console: to print to; standard output unless given.
    """
    content = _errors_once(cells(lines))
    shown = [place for place, name in enumerate(COLUMNS) if name != "folder" and any(row[place] for row in content)]
    table = Table(box=SIMPLE_HEAD)
    for place in shown:
        narrow = COLUMNS[place] in ("job", "status", "seconds")
        table.add_column(COLUMNS[place], justify="right" if COLUMNS[place] == "seconds" else "left", no_wrap=narrow)
    for row in content:
        table.add_row(*(escape(row[place]) for place in shown))
    console = console or Console()
    console.print(table)
    console.print(escape(f"sweep  {sweep}: {count_statuses(lines)}"), soft_wrap=True, highlight=False)


def count_statuses(lines: Collection[JobLine]) -> str:
    """How many jobs there are of each status, in words."""
    counts = Counter(line.status for line in lines)
    total = f"{len(lines)} job{'s' if len(lines) != 1 else ''}"
    return ", ".join([total, *(f"{number} {status}" for status, number in counts.items())])


def _words(line: JobLine, shared: Collection[str]) -> str:
    kept = [item for item in line.overrides if item not in shared and not item.startswith(("~", "experiment.row="))]
    return " ".join(kept)


def _errors_once(content: Sequence[list[str]]) -> list[list[str]]:
    """The table with each error where it first stands: all jobs may have the same long one."""
    first: dict[str, str] = {}
    shown = []
    for *others, error in content:
        job = first.setdefault(error, others[0])
        shown.append([*others, error if error in ("", GONE) or job == others[0] else f"as job {job}"])
    return shown
