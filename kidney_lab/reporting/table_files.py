"""The tables of a report as files of their own, for papers and for other programs: Markdown, CSV and LaTeX."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from kidney_lab.files import write_text
from kidney_lab.reporting.formatting import MISSING
from kidney_lab.reporting.latex import section_latex
from kidney_lab.reporting.sections import TableSection, section_markdown

SUFFIXES: Final = (".md", ".csv", ".tex")

_NUMBER: Final = r"[+-]?\d+(?:\.\d+)?"
_WITH_INTERVAL: Final = re.compile(rf"({_NUMBER}) \[({_NUMBER}), ({_NUMBER})\]")
_CORRECTED: Final = re.compile(rf"([<]?{_NUMBER}|{MISSING}) \(([<]?{_NUMBER}|{MISSING})\)")
_ARROWS: Final = re.compile(r" [\N{UPWARDS ARROW}\N{DOWNWARDS ARROW}]| \N{RIGHTWARDS ARROW}0")


def write_tables(sections: Iterable[TableSection], folder: Path) -> list[Path]:
    """Writes every table as `<id>.md`, `<id>.csv` and `<id>.tex`.

    Args:
        sections: those without rows have no table, and no files.
        folder: made if missing.

    Returns:
        The files.
    """
    written = []
    for section in sections:
        if section.rows:
            texts = "\n".join(section_markdown(section)), section_csv(section), section_latex(section)
            for suffix, text in zip(SUFFIXES, texts, strict=True):
                file = folder / f"{section.id}{suffix}"
                write_text(file, text)
                written.append(file)
    return written


def section_csv(section: TableSection) -> str:
    """Writes a section so that programs can read it.

    Args:
        section: with rows.

    Returns:
        CSV with a header: a mean with its interval is three columns, a p-value with its corrected one is two; what is
        missing is empty; arrows are left out.
    """
    columns: list[list[str]] = []
    for place, (title, *cells) in enumerate(zip(section.columns, *section.lines(), strict=True)):
        columns += _split(title, cells) if place >= section.n_words else [[title, *cells]]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for line in zip(*columns, strict=True):
        writer.writerow(["" if cell == MISSING else _ARROWS.sub("", cell) for cell in line])
    return text.getvalue()


def _split(title: str, cells: Sequence[str]) -> list[list[str]]:
    """The columns that a column of numbers is made of, each under its title."""
    name = title.replace(" [95% CI]", "")
    if any(_WITH_INTERVAL.fullmatch(cell) for cell in cells):
        parts = [_groups(_WITH_INTERVAL, cell, 3) for cell in cells]
        titles = [name, f"{name}, low", f"{name}, high"]
    elif any(_CORRECTED.fullmatch(cell) for cell in cells):
        parts = [_groups(_CORRECTED, cell, 2) for cell in cells]
        titles = [name.replace(" (Holm)", ""), f"{name.replace(' (Holm)', '')}, Holm"]
    else:
        return [[name, *cells]]
    return [[titles[place], *(part[place] for part in parts)] for place in range(len(titles))]


def _groups(pattern: re.Pattern[str], cell: str, n: int) -> list[str]:
    match = pattern.fullmatch(cell)
    return list(match.groups()) if match else [cell, *[""] * (n - 1)]
