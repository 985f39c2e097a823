"""The report of a clinical table: HTML and Markdown, the typed and the encoded table, outliers and figures."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from kidney_lab.data.clinical.analysis import one_hot, outliers
from kidney_lab.data.clinical.schema import TUMOR_VOLUME
from kidney_lab.files import replacing, write_text
from kidney_lab.reporting.clinical_comparison import DIFFERS, EQUAL, UNKNOWN, PublishedTable
from kidney_lab.reporting.clinical_sections import Section, clinical_sections
from kidney_lab.reporting.formatting import MISSING
from kidney_lab.reporting.html import page

_BADGES = {EQUAL: "good", DIFFERS: "warn", UNKNOWN: "plain"}


@dataclass(frozen=True)
class ClinicalReport:
    """What was written.

    Args:
        html: the report.
        sections: of it, for the terminal.
    """

    html: Path
    sections: Sequence[Section]


def write_clinical_report(
    table: pd.DataFrame, *, published: PublishedTable, name: str, source: Path, output: Path
) -> ClinicalReport:
    """Writes the report and its files directly into a folder.

    Args:
        table: as `read_clinical` gives it, with `tumor_volume_ml` where there are references to measure.
        published: the paper's table to put beside it.
        name: of the dataset.
        source: file that the table was read from.
        output: created if missing; gets `report.html`, `clinical.md`, `clinical.csv`, `one_hot.csv`, `outliers.csv` and
            `figures/*.png`.

    Returns:
        What was written.
    """
    sections = clinical_sections(table, published)
    for path, content in (
        (output / "clinical.csv", table.to_csv()),
        (output / "one_hot.csv", one_hot(table).to_csv()),
        (output / "outliers.csv", outliers(table).to_csv()),
        (output / "clinical.md", clinical_markdown(name, sections)),
        (output / "report.html", _html(table, name, source, sections)),
    ):
        write_text(path, content)
    for picture in (picture for section in sections for picture in section.pictures):
        with replacing(output / "figures" / f"{picture.name}.png") as temporary:
            temporary.write_bytes(picture.png)
    return ClinicalReport(output / "report.html", sections)


def print_sections(sections: Sequence[Section], *, console: Console | None = None) -> None:
    """Prints the brief sections; the report has all of them."""
    console = console or Console()
    for section in sections:
        if not section.brief:
            continue
        table = Table(box=SIMPLE_HEAD)
        for title, side, *cells in zip(section.header, section.align, *section.rows, strict=True):
            longest = max((len(word) for cell in (title, *cells) for word in cell.split()), default=0)
            table.add_column(title, justify="right" if side == "r" else "left", min_width=longest)
        for row in section.rows:
            table.add_row(*row)
        console.print(section.title, style="bold")
        for paragraph in section.text:
            console.print(paragraph, markup=False, highlight=False)
        console.print(table)


def clinical_markdown(name: str, sections: Sequence[Section]) -> str:
    """Writes the sections in Markdown, with the pictures out of `figures`."""
    lines = [f"# Clinical table of {name}", ""]
    for section in sections:
        lines += [f"## {section.title}", ""]
        for paragraph in section.text:
            lines += [paragraph, ""]
        rule = ["---:" if side == "r" else "---" for side in section.align]
        cells = [section.header, rule, *section.rows]
        lines += ["| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in cells]
        lines += [f"\n![{picture.alt}](figures/{picture.name}.png)" for picture in section.pictures]
        lines.append("")
    return "\n".join(lines)


def _html(table: pd.DataFrame, name: str, source: Path, sections: Sequence[Section]) -> str:
    measured = int(table[TUMOR_VOLUME].notna().sum()) if TUMOR_VOLUME in table else 0
    known = table.notna().any()
    return page(
        "clinical.html.j2",
        title=f"Clinical table of {name}",
        facts=[
            ("Read from", source.name),
            ("Patients", str(len(table))),
            ("Columns with values", f"{int(known.sum())} of {len(known)}"),
            ("Tumors measured on references", str(measured) if measured else MISSING),
        ],
        sections=sections,
        pictures={
            picture.name: base64.b64encode(picture.png).decode("ascii")
            for section in sections
            for picture in section.pictures
        },
        badges=_BADGES,
    )
