import math

import pandas as pd

from kidney_lab.reporting.runs import read_run
from kidney_lab.reporting.scores import cases_worst_first, decisive_region, score_rows


def test_rows_go_region_by_region_so_that_runs_stand_together(make_run):
    frame = read_run(make_run()).metrics
    rows = score_rows({"a": frame, "b": frame})
    assert [(row.region, row.run) for row in rows] == [
        ("kidney_and_mass", "a"),
        ("kidney_and_mass", "b"),
        ("tumor", "a"),
        ("tumor", "b"),
    ]


def test_scores_are_those_of_the_defined_cases(make_run):
    tumor = score_rows({"a": read_run(make_run()).metrics})[1]
    assert tumor.cases.n == 3
    assert tumor.cases.n_undefined == 1
    assert math.isclose(tumor.cases.mean, 0.7)
    assert tumor.scores["dice"].median == 0.7
    assert math.isclose(tumor.scores["surface_dice"].interval.mean, 0.35)


def test_cases_stand_worst_first_and_undefined_last(make_run):
    wide = cases_worst_first(read_run(make_run()).metrics)
    assert list(wide.index) == ["case_00002", "case_00003", "case_00001", "case_00004"]
    assert wide.loc["case_00002", ("tumor", "surface_dice")] == 0.25


def test_without_tumor_the_kidney_decides():
    frame = pd.DataFrame({"case": ["a"], "region": ["kidney"], "metric": ["dice"], "value": [1.0]})
    assert decisive_region(frame) == "kidney"
    assert decisive_region(frame.iloc[:0]) is None
    assert cases_worst_first(frame.iloc[:0]).empty
