"""Tables that may compare runs: the same rows for the page and for Markdown."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class TableRow:
    """A row of a table that may compare runs; `kind` is a class of the style sheet, and no run has no colour."""

    run: str
    color: int | None
    cells: Sequence[str]
    kind: str = ""


@dataclass(frozen=True)
class TableSection:
    """A part of the report that is one table.

    Args:
        id: anchor in the page.
        title: heading.
        caption: what the numbers are.
        header: of the columns after that of the run.
        rows: with or without the name of the run in front, see `by_run`.
        notes: sentences on what is not in the table.
        explanations: sentences under the table on what is in it.
        by_run: whether the first column names the run.
        n_text: columns of words at the start, beside that of the run.
        best: rows and cells, from 0, of the best values of their column, which are set in bold.
    """

    id: str
    title: str
    caption: str
    header: Sequence[str]
    rows: Sequence[TableRow]
    notes: Sequence[str] = ()
    explanations: Sequence[str] = ()
    by_run: bool = True
    n_text: int = 1
    best: Collection[tuple[int, int]] = ()

    @property
    def columns(self) -> list[str]:
        """Titles of all columns, with that of the run."""
        return [*(["Run"] if self.by_run else []), *self.header]

    def lines(self, bold: Callable[[str], str] = str, plain: Callable[[str], str] = str) -> list[list[str]]:
        """Cells of all rows under `columns`.

        Args:
            bold: writes one that is the best of its column.
            plain: writes any other.
        """
        return [
            [
                *([plain(row.run)] if self.by_run else []),
                *((bold if (i, k) in self.best else plain)(cell) for k, cell in enumerate(row.cells)),
            ]
            for i, row in enumerate(self.rows)
        ]

    @property
    def n_words(self) -> int:
        """Columns of words at the start, with that of the run."""
        return int(self.by_run) + self.n_text


def section_markdown(section: TableSection) -> list[str]:
    """Writes a section in Markdown, line by line."""
    lines = [f"## {section.title}", ""]
    for sentence in (*([section.caption] if section.rows else []), *section.notes):
        lines += [sentence, ""]
    if section.rows:
        rows = section.lines(bold=lambda cell: f"**{cell}**")
        lines += [*markdown_table(section.columns, rows, n_text=section.n_words), ""]
    for sentence in section.explanations:
        lines += [sentence, ""]
    return lines


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, n_text: int) -> list[str]:
    """Writes a table in Markdown, the first `n_text` columns to the left and numbers to the right."""
    lines = [header, ["---"] * n_text + ["---:"] * (len(header) - n_text), *rows]
    return ["| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines]
