from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from kidney_lab.composition.search_path import config_folder
from kidney_lab.errors import InputError
from kidney_lab.reporting.clinical_comparison import DIFFERS, EQUAL, UNKNOWN, PublishedTable, compare, contradictions

FILE = config_folder().parent / "experiments" / "transfer_ensemble" / "table1_clinical.json"


def classes(*entries):
    return [dict(zip(("name", "count", "percent", "values"), entry, strict=True)) for entry in entries]


@pytest.fixture
def published() -> PublishedTable:
    return PublishedTable(
        source="A paper",
        n_cases=4,
        n_public=3,
        n_missing=0,
        medians=[
            {"attribute": "BMI", "column": "bmi", "median": "25.50", "q1": "24.75", "q3": "26.25"},
            {"attribute": "Age", "column": "age", "median": "61"},
            {"attribute": "Volume", "column": "tumor_volume_ml", "median": "3"},
        ],
        shares=[
            {
                "attribute": "Gender",
                "column": "gender",
                "classes": classes(("male", 3, "75", ["male"]), ("rest", 1, "25.0", None)),
            },
            {"attribute": "Focality", "column": None, "classes": classes(("one", 2, "66.7", None))},
        ],
    )


@pytest.fixture
def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "bmi": pd.array([24, 25, 26, 27, 99], dtype="Float64"),
            "age": pd.array([50, None, 60, 64, 1], dtype="Int64"),
            "gender": pd.Categorical(["male", "male", "male", "female", "female"], categories=["female", "male", "x"]),
        },
        index=["case_00000", "case_00001", "case_00002", "case_00003", "case_00400"],
    )


def test_every_value_is_compared_in_the_paper_s_digits(table, published):
    rows = {row.attribute: row for row in compare(table, published)}

    # the patient 400 is none of the paper's
    assert (rows["BMI"].ours, rows["BMI"].verdict, rows["BMI"].reason) == ("25.50 (24.75, 26.25)", EQUAL, "")
    assert (rows["Age"].paper, rows["Age"].ours, rows["Age"].verdict) == ("61", "60", DIFFERS)
    assert rows["Age"].reason == "3 of 4 patients here"
    assert (rows["Gender: male"].ours, rows["Gender: male"].verdict) == ("3 (75 %)", EQUAL)
    assert (rows["Gender: rest"].ours, rows["Gender: rest"].verdict) == ("1 (25.0 %)", EQUAL)
    assert (rows["Missing values in these"].ours, rows["Missing values in these"].verdict) == ("1", DIFFERS)


def test_what_no_table_has_is_unknown_with_the_reason(table, published):
    rows = {row.attribute: row for row in compare(table, published)}

    assert (rows["Volume"].verdict, rows["Volume"].ours) == (UNKNOWN, "—")
    assert rows["Volume"].reason == "no reference segmentation to measure it on"
    assert (rows["Focality: one"].verdict, rows["Focality: one"].reason) == (UNKNOWN, "not in the public tables")

    table["gender"] = table["gender"].where(table["gender"].isna())
    table["bmi"] = pd.array([None] * 5, dtype="Float64")
    rows = {row.attribute: row for row in compare(table, published)}
    assert rows["BMI"].reason == rows["Gender: male"].reason == "no value in this table"


def test_the_same_patients_with_other_values_are_said_to_be_so(table, published):
    table.loc["case_00000", "bmi"] = 1.0
    row = compare(table, published)[0]

    assert (row.verdict, row.reason) == (DIFFERS, "the public table says otherwise")


def test_contradictions_in_the_paper_s_own_numbers_are_counted(published):
    # the focality's only count is 2 of 4 patients; 66.7 % are neither 2 of 2 nor 2 of 4
    assert contradictions(published) == (
        "The paper's own counts add up to 2 (focality) patients, not 4. "
        "Of its 3 shares, 1 fit neither these sums nor 4."
    )
    assert contradictions(replace(published, shares=published.shares[:1])) == ""


def test_the_paper_s_table_is_read_as_printed():
    published = PublishedTable.read(FILE)

    assert (published.n_cases, published.n_public) == (300, 210)
    counts = {group["attribute"]: [entry["count"] for entry in group["classes"]] for group in published.shares}
    assert counts["Procedure"] == [111, 178]
    assert "289 (procedure)" in contradictions(published)


@pytest.mark.parametrize("text", ["{", '{"source": "x"}', "[]"])
def test_a_broken_file_is_named(tmp_path: Path, text):
    (tmp_path / "table.json").write_text(text)
    with pytest.raises(InputError, match=r"table\.json is no table of a paper"):
        PublishedTable.read(tmp_path / "table.json")
