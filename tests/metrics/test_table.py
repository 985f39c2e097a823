import json
import math
from pathlib import Path

import pandas as pd
import pytest

from kidney_lab.errors import InputError
from kidney_lab.metrics import metrics_frame, read_metrics, summarize, write_metrics

SCORES = {
    "case_00001": {("tumor", "dice"): 0.1 + 0.2, ("tumor", "surface_dice"): float("nan")},
    "NA": {("tumor", "dice"): 1 / 3, ("tumor", "surface_dice"): 1.0},
    "Zwölf, rechts": {("tumor", "dice"): 0.9, ("tumor", "surface_dice"): 0.5},
}


def test_table_reads_back_to_the_same_bits(tmp_path: Path):
    frame = metrics_frame(SCORES)
    write_metrics(frame, tmp_path / "new" / "folder")
    pd.testing.assert_frame_equal(read_metrics(tmp_path / "new" / "folder"), frame, check_exact=True, check_dtype=False)
    pd.testing.assert_frame_equal(
        read_metrics(tmp_path / "new/folder/metrics.csv"), frame, check_exact=True, check_dtype=False
    )


def test_file_is_tidy_with_an_empty_value_where_undefined(tmp_path: Path):
    write_metrics(metrics_frame(SCORES), tmp_path)
    lines = (tmp_path / "metrics.csv").read_bytes().decode("utf-8").split("\n")
    assert lines[:4] == [
        "case,region,metric,value",
        "case_00001,tumor,dice,0.30000000000000004",
        "case_00001,tumor,surface_dice,",
        "NA,tumor,dice,0.3333333333333333",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.csv", "summary.json"]


def test_summary_counts_and_leaves_out_undefined_values(tmp_path: Path):
    write_metrics(metrics_frame(SCORES), tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())["tumor"]["surface_dice"]
    assert summary == {"mean": 0.75, "std": pytest.approx(math.sqrt(0.125)), "median": 0.75, "n": 2, "n_undefined": 1}


def test_summary_of_too_few_values_is_null():
    one = summarize(metrics_frame({"a": {("tumor", "dice"): 0.5}}))["tumor"]["dice"]
    none = summarize(metrics_frame({"a": {("tumor", "dice"): float("nan")}}))["tumor"]["dice"]
    assert one == {"mean": 0.5, "std": None, "median": 0.5, "n": 1, "n_undefined": 0}
    assert none == {"mean": None, "std": None, "median": None, "n": 0, "n_undefined": 1}


def test_the_summary_says_if_validation_cases_were_scored_and_nothing_else_changes(tmp_path: Path):
    frame = metrics_frame(SCORES)
    write_metrics(frame, tmp_path / "test")
    write_metrics(frame, tmp_path / "validation", scored="validation")

    test, validation = (json.loads((tmp_path / part / "summary.json").read_text()) for part in ("test", "validation"))
    assert validation.pop("scored") == "validation"
    assert validation == test == {"tumor": test["tumor"]}
    pd.testing.assert_frame_equal(read_metrics(tmp_path / "validation"), read_metrics(tmp_path / "test"))


def test_the_summary_shows_the_same_figures_before_postprocessing_and_nothing_else_changes(tmp_path: Path):
    before = {
        "case_00001": {("tumor", "dice"): 0.2, ("tumor", "surface_dice"): float("nan")},
        "NA": {("tumor", "dice"): 0.5, ("tumor", "surface_dice"): float("nan")},
        "Zwölf, rechts": {("tumor", "dice"): 0.2, ("tumor", "surface_dice"): 0.25},
    }
    write_metrics(metrics_frame(SCORES), tmp_path / "alone")
    reordered = metrics_frame(before).iloc[::-1]
    write_metrics(metrics_frame(SCORES), tmp_path / "both", before=reordered, scored="validation")

    alone, both = (json.loads((tmp_path / part / "summary.json").read_text()) for part in ("alone", "both"))
    assert both.pop("scored") == "validation"
    dice, surface_dice = (both["tumor"][name].pop("before_postprocessing") for name in ("dice", "surface_dice"))
    assert dice == {
        "mean": pytest.approx(0.3),
        "std": pytest.approx(0.03**0.5),
        "median": 0.2,
        "n": 3,
        "n_undefined": 0,
    }
    assert surface_dice == {"mean": 0.25, "std": None, "median": 0.25, "n": 1, "n_undefined": 2}
    assert both == alone
    assert (tmp_path / "both/metrics.csv").read_bytes() == (tmp_path / "alone/metrics.csv").read_bytes()


def test_scores_before_postprocessing_of_other_cases_are_refused_before_anything_is_written(tmp_path: Path):
    frame = metrics_frame(SCORES)
    with pytest.raises(ValueError, match="not of the same cases, regions and metrics"):
        write_metrics(frame, tmp_path, before=frame[frame["case"] != "NA"])
    with pytest.raises(ValueError, match="must be NaN"):
        write_metrics(frame, tmp_path, before=frame.assign(value=float("inf")))
    assert not list(tmp_path.iterdir())


def test_infinite_value_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="must be NaN"):
        write_metrics(metrics_frame({"a": {("tumor", "hd95"): float("inf")}}), tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,region,value\na,tumor,1\n", "its columns are case,region,value"),
        ("case,region,metric,value\na,tumor,dice,good\n", "cannot be read"),
        ("case,region,metric,value\na,tumor,dice,inf\n", "cannot be read: a value is inf; its columns must be"),
        ("case,region,metric,value\na,tumor,dice,nan\n", "a value is nan; .* or empty where undefined"),
        ("case,region,metric,value\na,tumor,dice,1\na,tumor,dice,\n", "dice of tumor stands twice for a; "),
        ("", "cannot be read"),
    ],
)
def test_file_that_is_no_table_of_metrics_is_refused(tmp_path: Path, text: str, message: str):
    (tmp_path / "metrics.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_metrics(tmp_path)


def test_missing_table_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"metrics\.csv does not exist"):
        read_metrics(tmp_path)
