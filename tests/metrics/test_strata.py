import math

import numpy as np
import pandas as pd
import pytest

from kidney_lab.data.nifti import read_volume
from kidney_lab.errors import InputError
from kidney_lab.geometry import reorient
from kidney_lab.labels import CYST, KIDNEY, TUMOR
from kidney_lab.metrics import metrics_frame
from kidney_lab.metrics.strata import (
    ball_diameter_mm,
    by_stratum,
    case_strata,
    read_strata,
    strata_frame,
    write_strata,
)

SPACING_MM = (5.0, 1.0, 1.0)


def reference(*tumors, cyst=False):
    label = np.zeros((6, 90, 90), np.uint8)
    label[1:5, 1:89, 1:89] = KIDNEY
    for box in tumors:
        label[box] = TUMOR
    if cyst:
        label[2, 80, 80] = CYST
    return label


def test_a_case_is_described_by_its_tumors_and_its_slices():
    label = reference(np.s_[1:4, 5:35, 5:45], np.s_[2:4, 60:70, 60:70], np.s_[4, 87, 87], cyst=True)
    strata = case_strata(label, SPACING_MM)
    assert strata == {
        "tumor_diameter_mm": pytest.approx(50),  # 30 by 40
        "tumor_volume_ml": pytest.approx((3600 + 200 + 1) * 5 / 1000),
        "largest_tumor_volume_ml": pytest.approx(18),
        "tumor_count": 2,
        "tumor_specks": 1,
        "cyst_present": True,
        "slice_thickness_mm": 5,
        "size": "4-7 cm",
        "size_by_volume": "2-4 cm",  # a ball of 18 ml is 32.5 mm across
        "under_10_mm": False,
        "under_2_cm": False,
        "under_10_cm3": False,
        "slices": ">3 mm",
    }


def test_without_a_tumor_sizes_are_undefined_and_volumes_zero():
    strata = case_strata(reference(), (1.0, 1.0, 1.0))
    undefined = ("tumor_diameter_mm", "size", "size_by_volume", "under_10_mm", "under_2_cm", "under_10_cm3")
    assert all(strata[name] is None for name in undefined)
    assert (strata["tumor_volume_ml"], strata["largest_tumor_volume_ml"], strata["tumor_count"]) == (0, 0, 0)
    assert (strata["cyst_present"], strata["slices"]) == (False, "<=1 mm")


@pytest.mark.parametrize(
    ("legs_mm", "size", "under_10_mm", "under_2_cm"),
    [
        ((3, 4), "<=2 cm", True, True),
        ((6, 8), "<=2 cm", False, True),  # exactly 10 mm
        ((12, 16), "<=2 cm", False, False),  # exactly 20 mm
        ((24, 32), "2-4 cm", False, False),  # exactly 40 mm
        ((42, 56), "4-7 cm", False, False),  # exactly 70 mm
        ((45, 60), ">7 cm", False, False),
    ],
)
def test_a_limit_belongs_to_the_smaller_tumors_and_under_means_under(legs_mm, size, under_10_mm, under_2_cm):
    rows, columns = legs_mm
    strata = case_strata(reference(np.s_[2:3, 2 : 2 + rows, 2 : 2 + columns]), SPACING_MM)
    assert (strata["size"], strata["under_10_mm"], strata["under_2_cm"]) == (size, under_10_mm, under_2_cm)


@pytest.mark.parametrize(
    ("thickness_mm", "slices"),
    [(0.5, "<=1 mm"), (1.0000001, "<=1 mm"), (1.25, "1-3 mm"), (3.0000001, "1-3 mm"), (3.75, ">3 mm")],
)
def test_slices_are_classed_by_thickness_in_spite_of_rounded_headers(thickness_mm, slices):
    assert case_strata(reference(), (thickness_mm, 1.0, 1.0))["slices"] == slices


def test_diameter_of_a_ball_inverts_its_volume():
    for diameter_mm in (20.0, 40.0, 70.0):
        volume_ml = 4 / 3 * math.pi * (diameter_mm / 2) ** 3 / 1000
        assert ball_diameter_mm(volume_ml) == pytest.approx(diameter_mm)


def test_with_images_cases_are_split_into_blurry_and_crisp_ones():
    rows = {}
    for step, case in [(20, "a"), (60, "b"), (100, "c")]:
        label = reference(np.s_[1:4, 5:35, 5:45])
        rows[case] = case_strata(label, SPACING_MM, image=label.astype(float) * step)
    rows["d"] = case_strata(reference(), SPACING_MM, image=np.zeros((6, 90, 90)))
    frame = strata_frame(rows).set_index("case")
    assert frame["tumor_border"].fillna("none").to_dict() == {"a": "blurry", "b": "crisp", "c": "crisp", "d": "none"}
    assert set(frame["tumor_threshold_hu_per_mm"]) == {frame["tumor_gradient_hu_per_mm"]["b"]}
    assert frame["tumor_gradient_hu_per_mm"]["c"] == pytest.approx(5 * frame["tumor_gradient_hu_per_mm"]["a"])
    assert frame["kidney_and_mass_border"]["d"] == "blurry"


def test_table_reads_back_as_it_was_written(tmp_path):
    rows = {
        "case_00001": case_strata(reference(np.s_[2:3, 2:8, 2:10]), (5.0, 0.1 + 0.2, 1 / 3)),
        "NA": case_strata(reference(), SPACING_MM),
    }
    write_strata(strata_frame(rows), tmp_path / "new")
    for path in (tmp_path / "new", tmp_path / "new" / "strata.csv"):
        pd.testing.assert_frame_equal(read_strata(path), strata_frame(rows), check_exact=True, check_dtype=False)
    lines = (tmp_path / "new" / "strata.csv").read_text().splitlines()
    assert lines[0].startswith("case,tumor_diameter_mm,tumor_volume_ml")
    assert lines[2] == "NA,,0.0,0.0,0,0,False,5.0,,,,,,>3 mm"


def test_own_columns_are_text_and_numbers_in_them_are_in_order(tmp_path):
    (tmp_path / "strata.csv").write_text("case,grade,histology\n00012,2,clear\nb,10,\nc,,NA\n")
    strata = read_strata(tmp_path)
    assert strata["case"].tolist() == ["00012", "b", "c"]
    scores = metrics_frame({case: {("tumor", "dice"): 0.5} for case in strata["case"]})
    assert by_stratum(scores, strata, "grade")["stratum"].tolist() == ["2", "10", "undefined"]
    assert by_stratum(scores, strata, "histology")["stratum"].tolist() == ["NA", "clear", "undefined"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,size\na,2\n", "it has no column case"),
        ("case,size\na,x\na,y\n", "a stands in it twice"),
        ("case,tumor_diameter_mm\na,large\n", "cannot be read: .*large"),
        ("case,under_2_cm\na,yes\n", "under_2_cm is yes, but must be True or False"),
        ("", "cannot be read"),
    ],
)
def test_a_file_that_is_no_table_of_strata_is_refused(tmp_path, text, message):
    (tmp_path / "strata.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_strata(tmp_path)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(InputError, match=r"strata\.csv does not exist"):
        read_strata(tmp_path)


METRICS = metrics_frame({c: {("tumor", "dice"): v} for c, v in {"a": 0.9, "b": 0.7, "c": 0.2, "d": 0.4}.items()})
STRATA = pd.DataFrame(
    {
        "case": list("abcde"),
        "tumor_volume_ml": [400.0, 20.0, 1.0, 0.0, 9.0],
        "size": [">7 cm", "2-4 cm", "2-4 cm", None, "<=2 cm"],
        "tumor_count": [1, 2, 10, 1, 1],
        "cyst_present": pd.array([True, False, False, True, None], dtype="boolean"),
        "histology": ["papillary", "clear", "clear", "papillary", "clear"],
    }
)


def test_scores_are_summarized_by_stratum_in_order_of_size():
    table = by_stratum(METRICS, STRATA, "size")
    assert table["stratum"].tolist() == ["2-4 cm", ">7 cm", "undefined"]
    assert table["mean"].tolist() == pytest.approx([0.45, 0.9, 0.4])
    assert table["n"].tolist() == [2, 1, 1]
    assert table.columns.tolist() == ["stratum", "region", "metric", "mean", "std", "median", "n", "n_undefined"]


def test_counts_yes_or_no_and_own_columns_are_strata_too():
    assert by_stratum(METRICS, STRATA, "tumor_count")["stratum"].tolist() == [1, 2, 10]
    assert by_stratum(METRICS, STRATA, "cyst_present")["mean"].tolist() == pytest.approx([0.45, 0.65])
    assert by_stratum(METRICS, STRATA, "histology")["stratum"].tolist() == ["clear", "papillary"]


def test_a_measured_or_unknown_column_is_no_stratum():
    for column in ("tumor_volume_ml", "case", "colour"):
        with pytest.raises(
            InputError, match=f"'{column}' is no column .* out of size, tumor_count, cyst_present, hist"
        ):
            by_stratum(METRICS, STRATA, column)


def test_a_scored_case_without_strata_is_named():
    with pytest.raises(InputError, match="no row for b, c:"):
        by_stratum(METRICS, STRATA.iloc[[0, 3]], "size")


def test_a_real_case_with_a_stray_piece_beside_a_huge_tumor(shared_data):
    label = reorient(read_volume(shared_data / "kits23" / "case_00030" / "segmentation.nii.gz"))
    strata = case_strata(label.array, label.grid.spacing)
    assert (strata["size"], strata["size_by_volume"], strata["slices"]) == (">7 cm", ">7 cm", ">3 mm")
    assert strata["tumor_volume_ml"] == pytest.approx(np.sum(label.array == TUMOR) * np.prod(label.grid.spacing) / 1000)
    assert (strata["tumor_count"], strata["tumor_specks"], strata["cyst_present"]) == (2, 0, True)
