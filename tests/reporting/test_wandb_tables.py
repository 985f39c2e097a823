import math

import pytest

from kidney_lab.metrics import metrics_frame, write_metrics
from kidney_lab.metrics.strata import strata_frame, write_strata
from kidney_lab.reporting.wandb_tables import case_columns, mean_scores

SCORES = {
    "case_00002": {("tumor", "dice"): 0.5, ("tumor", "hd95"): math.nan, ("mass", "dice"): 0.75},
    "case_00001": {("tumor", "dice"): 0.25, ("tumor", "hd95"): math.nan, ("mass", "dice"): math.nan},
}


@pytest.fixture
def folder(tmp_path):
    write_metrics(metrics_frame(SCORES), tmp_path)
    return tmp_path


def test_a_region_of_a_case_is_a_row_in_the_order_of_the_scores(folder):
    columns, rows = case_columns(folder)

    assert columns == ["case", "region", "dice", "hd95"]
    assert rows == [
        ["case_00002", "tumor", 0.5, None],
        ["case_00002", "mass", 0.75, None],
        ["case_00001", "tumor", 0.25, None],
        ["case_00001", "mass", None, None],
    ]


def test_the_strata_of_a_case_stand_beside_its_scores(folder):
    write_strata(strata_frame({"case_00001": {"size": "4-7 cm"}, "case_00002": {"size": "2-4 cm"}}), folder)

    columns, rows = case_columns(folder)

    assert columns[-1] == "size"
    assert [row[-1] for row in rows] == ["2-4 cm", "2-4 cm", "4-7 cm", "4-7 cm"]


def test_means_leave_out_what_is_undefined(folder):
    assert mean_scores(folder) == {"tumor/dice": 0.375, "mass/dice": 0.75}
