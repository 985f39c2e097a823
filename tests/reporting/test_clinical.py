import io
import json
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from kidney_lab.data.clinical import read_clinical
from kidney_lab.reporting.clinical import print_sections, write_clinical_report
from kidney_lab.reporting.clinical_comparison import PublishedTable

PUBLISHED = PublishedTable(
    "A <paper>",
    n_cases=300,
    n_public=210,
    n_missing=0,
    medians=[{"attribute": "Age", "column": "age_at_nephrectomy", "median": "69"}],
    shares=[],
)


@pytest.fixture
def written(tmp_path):
    patients = [
        {"case_id": f"case_{n:05d}", "age_at_nephrectomy": 60 + n, "radiographic_size": 1.5**n, "gender": "male"}
        for n in range(20)
    ]
    (tmp_path / "kits.json").write_text(json.dumps(patients))
    table = read_clinical(tmp_path / "kits.json")
    source = tmp_path / "kits.json"
    return write_clinical_report(table, published=PUBLISHED, name="mine", source=source, output=tmp_path / "out")


def test_the_report_and_its_files_are_written_into_the_folder(written, tmp_path):
    names = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*"))

    assert names == [
        "clinical.csv",
        "clinical.md",
        "figures/outliers.png",
        "figures/radiographic_size.png",
        "one_hot.csv",
        "outliers.csv",
        "report.html",
    ]
    typed = pd.read_csv(tmp_path / "out" / "clinical.csv", index_col="case")
    assert typed["age_at_nephrectomy"].tolist() == list(range(60, 80))
    assert pd.read_csv(tmp_path / "out" / "one_hot.csv")["gender=male"].eq(1).all()
    found = pd.read_csv(tmp_path / "out" / "outliers.csv", index_col="column")
    assert found.loc["radiographic_size", "cases"].split()[-1] == "case_00019"


def test_the_page_needs_nothing_else_and_escapes_texts(written):
    page = written.html.read_text()

    assert "Clinical table of mine" in page
    assert "A &lt;paper&gt;" in page
    assert '<span class="badge warn">differs</span>' in page
    assert page.count("data:image/png;base64,") == 2
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("<section") == page.count("</section>") == len(written.sections) + 1


def test_markdown_has_a_line_for_every_row_and_shows_the_pictures(written):
    text = (written.html.parent / "clinical.md").read_text()

    assert "| Age | 69 | 70 | differs | 20 of 300 patients here |" in text
    assert "(figures/radiographic_size.png)" in text
    assert text.count("\n| ") == sum(len(section.rows) + 2 for section in written.sections)


@pytest.mark.parametrize("width", [80, 160])
def test_the_terminal_shows_the_brief_sections_whole(written, width):
    shown = io.StringIO()
    print_sections(written.sections, console=Console(file=shown, width=width))

    assert "…" not in shown.getvalue()
    assert "Beside the paper's Table 1" in shown.getvalue()
    assert "possible" in shown.getvalue()
    assert "Columns" not in shown.getvalue()


def test_a_second_report_replaces_the_first(written, tmp_path):
    table = read_clinical(tmp_path / "kits.json").head(3)
    again = write_clinical_report(
        table, published=PUBLISHED, name="mine", source=tmp_path / "kits.json", output=Path(tmp_path / "out")
    )

    assert len(pd.read_csv(again.html.parent / "clinical.csv")) == 3
