import json
import logging
from pathlib import Path

import pandas as pd
import pytest

from kidney_lab.data.clinical import clinical_file, read_clinical
from kidney_lab.data.clinical.schema import SCHEMA
from kidney_lab.errors import InputError

KITS19 = {
    "case_id": "case_00001",
    "age_at_nephrectomy": 49,
    "body_mass_index": 29.47,
    "comorbidities": {"copd": True, "aids": False},
    "age_when_quit_smoking": "not_applicable",
    "pack_years": "30",
    "chewing_tobacco_use": "never_or_not_in_last_3mo",
    "hospitalization": "died_before_discharge",
    "surgical_approach": "Transperitoneal",
    "pathology_n_stage": "X",
    "tumor_histologic_subtype": "papillary",
    "tumor_isup_grade": 3,
    "last_preop_egfr": {"value": 77.0, "days_before_nephrectomy": 54},
    "first_postop_egfr": {"value": "age<16", "days_before_nephrectomy": 10},
    "last_postop_egfr": {"value": ">=90", "days_before_nephrectomy": 1420},
}
KITS23 = {
    "case_id": "case_00000",
    "age_at_nephrectomy": 64,
    "bmi": 28.86,
    "comorbidities": {"copd": False, "aids": False},
    "age_when_quit_smoking": None,
    "pack_years": 30.0,
    "chewing_tobacco_use": "never_or_not_in_the_last_3_months",
    "hospitalization": 6,
    "surgical_approach": "transperitoneal",
    "pathology_n_stage": "x",
    "tumor_histologic_subtype": "papillary_rcc",
    "tumor_isup_grade": "na",
    "last_preop_egfr": None,
    "last_postop_egfr": {"value": None, "days_after_nephrectomy": 1420},
}


def write(folder: Path, *patients, name="kits.json") -> Path:
    (folder / name).write_text(json.dumps(list(patients)))
    return folder / name


def test_both_editions_become_one_schema(tmp_path):
    table = read_clinical(write(tmp_path, KITS19, KITS23))

    assert table.index.name == "case"
    assert list(table.index) == ["case_00000", "case_00001"]
    assert list(table.columns) == [column.name for column in SCHEMA]
    assert table["bmi"].tolist() == [28.86, 29.47]
    for name, value in {
        "chewing_tobacco_use": "never_or_not_in_the_last_3_months",
        "surgical_approach": "transperitoneal",
        "pathology_n_stage": "x",
        "tumor_histologic_subtype": "papillary_rcc",
        "pack_years": 30.0,
        "last_postop_egfr.days_after_nephrectomy": 1420,
    }.items():
        assert table[name].tolist() == [value, value], name


def test_columns_have_nullable_types(tmp_path):
    table = read_clinical(write(tmp_path, KITS19, KITS23))

    assert table["age_at_nephrectomy"].dtype == "Int64"
    assert table["bmi"].dtype == "Float64"
    assert table["comorbidities.copd"].dtype == "boolean"
    assert table["tumor_isup_grade"].cat.categories.tolist() == ["1", "2", "3", "4"]
    assert table["tumor_isup_grade"].cat.ordered
    assert table["tumor_isup_grade"].dropna().to_dict() == {"case_00001": "3"}
    assert table["comorbidities.copd"].tolist() == [False, True]


@pytest.mark.parametrize(
    "column", ["age_when_quit_smoking", "hospitalization", "first_postop_egfr.value", "gender", "sarcomatoid_features"]
)
def test_what_does_not_apply_or_is_absent_is_missing(tmp_path, column):
    assert pd.isna(read_clinical(write(tmp_path, KITS19)).loc["case_00001", column])


def test_a_lower_bound_is_told_from_a_measured_value(tmp_path):
    row = read_clinical(write(tmp_path, KITS19)).loc["case_00001"]

    assert (row["last_postop_egfr.value"], row["last_postop_egfr.at_least"]) == (90.0, True)
    assert (row["last_preop_egfr.value"], row["last_preop_egfr.at_least"]) == (77.0, False)
    assert pd.isna(row["first_postop_egfr.at_least"])


def test_unknown_columns_are_kept_and_named(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        table = read_clinical(write(tmp_path, {**KITS19, "site": 3, "genes": {"vhl": "mutated"}}, KITS23))

    assert table.loc["case_00001", ["site", "genes.vhl"]].tolist() == [3, "mutated"]
    assert pd.isna(table.loc["case_00000", "genes.vhl"])
    assert "site, genes.vhl" in caplog.text


def test_new_values_of_an_open_list_are_kept_after_the_known_ones(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        table = read_clinical(write(tmp_path, {**KITS19, "surgery_type": "Percutaneous"}))

    assert table["surgery_type"].cat.categories.tolist() == ["open", "laparoscopic", "robotic", "percutaneous"]
    assert table["surgery_type"].tolist() == ["percutaneous"]
    assert "surgery_type has values beyond the known ones" in caplog.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"body_mass_index": "tall"}, "bmi of case_00001 is 'tall', but must be a number"),
        ({"body_mass_index": [1]}, r"bmi of case_00001 is \[1\], but must be a number"),
        ({"body_mass_index": {"value": 1}}, "bmi of case_00001 is {'value': 1}, but must be a number"),
        ({"body_mass_index": float("inf")}, "bmi of case_00001 is inf"),
        ({"body_mass_index": True}, "bmi of case_00001 is True"),
        ({"body_mass_index": ">=90"}, "bmi of case_00001 is '>=90'"),
        ({"age_at_nephrectomy": 49.5}, "age_at_nephrectomy of case_00001 is 49.5, but must be a whole number"),
        ({"body_mass_index": -1}, "bmi of case_00001 is -1, but must be a number of 0 or more"),
        ({"radiographic_size": "-4.5"}, "radiographic_size of case_00001 is '-4.5', but must be a number of 0 or more"),
        ({"age_at_nephrectomy": -3}, "age_at_nephrectomy of case_00001 is -3, but must be a whole number of 0 or more"),
        ({"last_preop_egfr": {"value": -90}}, "last_preop_egfr.value of case_00001 is -90"),
        ({"malignant": "yes"}, "malignant of case_00001 is 'yes', but must be true or false"),
        ({"malignant": 1}, "malignant of case_00001 is 1, but must be true or false"),
        ({"gender": 1.5}, "gender of case_00001 is 1.5, but must be a text"),
        ({"surgical_procedure": "biopsy"}, "'biopsy', but must be a text out of partial_nephrectomy, radical_neph"),
        ({"tumor_isup_grade": 5}, "tumor_isup_grade of case_00001 is 5, but must be a text out of 1, 2, 3, 4"),
        ({"comorbidities": "none"}, "comorbidities of case_00001 is 'none', but is a group of columns"),
        ({"bmi": 20}, "case_00001 has bmi twice, once as bmi"),
    ],
)
def test_a_wrong_value_names_its_case_and_column(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        read_clinical(write(tmp_path, {**KITS19, **change}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{", "is no JSON"),
        ("{}", "holds no list of patients"),
        ("[]", "holds no list of patients"),
        ('[{"gender": "male"}]', "entry 1 has no case_id"),
        ('["case_00000"]', "entry 1 has no case_id"),
        ('[{"case_id": "case_00000"}, {"case_id": "case_00000"}]', "case_00000 stands in it twice"),
    ],
)
def test_a_broken_file_is_named(tmp_path, text, message):
    (tmp_path / "kits.json").write_text(text)
    with pytest.raises(InputError, match=rf"kits\.json.*{message}"):
        read_clinical(tmp_path / "kits.json")


def test_bytes_that_are_no_text_and_a_missing_file_are_named(tmp_path):
    (tmp_path / "kits.json").write_bytes(b"\x1f\x8b\xff")
    with pytest.raises(InputError, match="is no JSON"):
        read_clinical(tmp_path / "kits.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_clinical(tmp_path / "kits23.json")


def test_the_file_is_found_by_either_name(tmp_path):
    assert clinical_file(tmp_path) is None
    newer = write(tmp_path, KITS23, name="kits23.json")
    assert clinical_file(tmp_path) == newer
    older = write(tmp_path, KITS19)
    assert clinical_file(tmp_path) == older


def test_the_real_tables_are_read_without_a_warning(shared_data, caplog):
    with caplog.at_level(logging.WARNING):
        old, new = (read_clinical(shared_data / path) for path in ("kits19/kits.json", "kits23/kits23.json"))

    assert not caplog.records
    assert (len(old), len(new)) == (120, 8)
    assert (old.dtypes == new.dtypes).all()
    assert old["hospitalization"].isna().sum() == 1
    assert old["last_preop_egfr.at_least"].sum() == 17
    assert (old["tumor_isup_grade"] == "2").sum() == 51


def test_patients_of_both_editions_agree_where_nothing_was_revised(shared_data):
    old, new = (read_clinical(shared_data / path) for path in ("kits19/kits.json", "kits23/kits23.json"))
    both = old.index.intersection(new.index)
    revised = ["age_when_quit_smoking", *[c for c in old if c.startswith(("vital", "last_postop", "voxel"))]]
    columns = [name for name in old if name not in revised and old[name].notna().any()]

    assert len(both) == 3
    pd.testing.assert_frame_equal(old.loc[both, columns], new.loc[both, columns])


def test_a_day_may_lie_before_the_one_that_it_is_counted_from(tmp_path):
    column = "last_preop_egfr.days_before_nephrectomy"
    table = read_clinical(write(tmp_path, {**KITS19, "last_preop_egfr": {"days_before_nephrectomy": -2}}))

    assert table.loc["case_00001", column] == -2
