import json

import pandas as pd
import pytest

from kidney_lab.data.clinical import read_clinical
from kidney_lab.data.clinical.schema import TUMOR_VOLUME
from kidney_lab.reporting.clinical_comparison import PublishedTable
from kidney_lab.reporting.clinical_sections import (
    balance_section,
    clinical_sections,
    column_section,
    normality_section,
    other_outlier_section,
    outlier_section,
)

PUBLISHED = PublishedTable("A paper", n_cases=300, n_public=210, n_missing=0, medians=[], shares=[])


@pytest.fixture
def table(tmp_path) -> pd.DataFrame:
    patients = [
        {
            "case_id": f"case_{number:05d}",
            "radiographic_size": 2.0 + number % 7,
            "age_at_nephrectomy": 60 if number else 1,
            "operative_time": 100 if number else 900,
            "surgical_procedure": "radical_nephrectomy" if number < 4 else "partial_nephrectomy",
        }
        for number in range(20)
    ]
    (tmp_path / "kits.json").write_text(json.dumps(patients))
    return read_clinical(tmp_path / "kits.json")


def test_every_row_has_a_cell_for_every_heading(table):
    table[TUMOR_VOLUME] = pd.array(range(1, 21), dtype="Float64")
    for section in clinical_sections(table, PUBLISHED):
        assert {len(section.header), len(section.align)} == {len(section.header)}
        assert {len(row) for row in section.rows} <= {len(section.header)}
        assert all(isinstance(cell, str) for row in section.rows for cell in row)


def test_the_balance_says_how_uneven_the_classes_are(table):
    section = balance_section(table)

    assert section.rows == [("partial_nephrectomy", "16", "80.0"), ("radical_nephrectomy", "4", "20.0")]
    assert "4.00 times" in section.text[1]


def test_an_unknown_procedure_leaves_an_empty_balance(table):
    table["surgical_procedure"] = table["surgical_procedure"].where(table["surgical_procedure"].isna())
    section = balance_section(table)

    assert section.rows[0] == ("partial_nephrectomy", "0", "—")
    assert section.pictures == []


def test_volumes_that_were_not_measured_are_left_out_with_a_word(table):
    section = normality_section(table)

    assert [row[:3] for row in section.rows] == [
        ("Tumor diameter (cm)", "as measured", "20"),
        ("Tumor diameter (cm)", "logarithm", "20"),
    ]
    assert "Tumor volume (ml) is left out" in section.text[1]


def test_outliers_are_named_with_their_bounds(table):
    assert outlier_section(table).rows[0] == ("Age (years)", "20", "60", "60", "60", "60", "60", "1", "00000")
    others = other_outlier_section(table).rows
    assert others == [("operative_time", "20", "100", "100", "100", "100", "100", "1", "00000")]


def test_every_column_is_explained(table):
    table["site"] = "a"
    table[TUMOR_VOLUME] = 1.0
    rows = {row[0]: row[1:] for row in column_section(table).rows}

    assert len(rows) == table.shape[1]
    assert rows["bmi"] == ("number", "kg/m²", "body mass index", "—", "20")
    assert rows["site"][2] == "not in the schema"
    assert rows[TUMOR_VOLUME][1] == "ml"
