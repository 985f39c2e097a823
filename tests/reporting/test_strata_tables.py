import numpy as np
import pandas as pd
import pytest

from kidney_lab.errors import InputError
from kidney_lab.metrics import metrics_frame, write_metrics
from kidney_lab.metrics.strata import strata_frame, write_strata
from kidney_lab.reporting.runs import read_run, read_runs
from kidney_lab.reporting.statistics import bootstrap_interval
from kidney_lab.reporting.strata_tables import strata_section, stratum_scores

SIZES = {"c1": ">7 cm", "c2": "<=2 cm", "c3": "<=2 cm", "c4": None, "c5": "2-4 cm"}
DICE = {"c1": 0.9, "c2": 0.4, "c3": 0.6, "c4": 1.0, "c5": np.nan}


@pytest.fixture
def stratified(tmp_path):
    def write(name, *, dice=DICE, sizes=SIZES, sensitivity=None):
        scores = {case: {("tumor", "dice"): value, ("mass", "dice"): 0.0} for case, value in dice.items()}
        for case, value in (sensitivity or {}).items():
            scores[case]["tumor", "lesion_sensitivity"] = value
        write_metrics(metrics_frame(scores), tmp_path / name)
        rows = {
            case: {"size": size, "cyst_present": case == "c1", "tumor_volume_ml": 1.0} for case, size in sizes.items()
        }
        write_strata(strata_frame(rows), tmp_path / name)
        return tmp_path / name

    return write


def test_scores_of_the_tumor_are_summarised_by_size_smallest_first(stratified):
    rows, notes = stratum_scores([read_run(stratified("a"))], "size")

    assert [(row.stratum, row.n) for row in rows] == [("<=2 cm", 2), ("2-4 cm", 1), (">7 cm", 1), ("undefined", 1)]
    assert rows[0].scores == {"dice": bootstrap_interval([0.4, 0.6])}
    assert (rows[1].scores["dice"].n, rows[1].scores["dice"].n_undefined) == (0, 1)
    assert notes == []


def test_runs_stand_together_in_each_stratum_and_a_metric_of_one_is_a_dash_of_the_other(stratified):
    paths = [stratified("a"), stratified("b", sensitivity=dict.fromkeys(DICE, 0.5))]
    runs, _ = read_runs(paths)
    rows, notes = stratum_scores(runs, "size")
    section = strata_section(rows, runs, by="size", notes=notes)

    assert [(row.cells[0], row.run) for row in section.rows[:3]] == [("<=2 cm", "a"), ("<=2 cm", "b"), ("2-4 cm", "a")]
    assert section.header[2:] == ("Dice ↑, mean [95% CI]", section.header[3])
    assert [row.cells[-1] for row in section.rows[:2]] == ["—", "0.500"]
    assert [row.kind for row in section.rows[:3]] == ["", "", "group"]
    assert section.rows[-1].cells[0] == "no tumor"
    assert [row.cells for row in section.rows if row.run == ""] == [["4-7 cm", "0", "no case in this stratum", "—"]]


def test_another_column_sorts_as_well_and_one_that_measures_is_refused(stratified):
    run = read_run(stratified("a"))

    assert [row.stratum for row in stratum_scores([run], "cyst_present")[0]] == [
        "without cysts",
        "with cysts",
    ]
    for by in ("tumor_volume_ml", "histology"):
        with pytest.raises(
            InputError,
            match=f"by={by} does not fit the strata.csv of a: '{by}' is no column that sorts cases",
        ):
            stratum_scores([run], by)


@pytest.mark.parametrize(
    ("by", "title", "small", "large"),
    [
        ("under_10_mm", "Tumor scores by tumor size", "under 10 mm", "10 mm and more"),
        ("under_2_cm", "Tumor scores by tumor size", "under 2 cm", "2 cm and more"),
        ("under_10_cm3", "Tumor scores by tumor volume", "under 10 cm³", "10 cm³ and more"),
    ],
)
def test_small_tumors_come_first_under_their_names_and_where_there_are_none_that_is_said(
    stratified, by, title, small, large
):
    path = stratified("a")
    kinds = {case: {by: None if case == "c4" else False, "size": "2-4 cm"} for case in DICE}
    write_strata(strata_frame(kinds), path)
    runs = [read_run(path)]
    section = strata_section(stratum_scores(runs, by)[0], runs, by=by, notes=[])

    assert section.title == title
    assert [row.cells[:2] for row in section.rows] == [[small, "0"], [large, "4"], ["no tumor", "1"]]
    assert section.rows[0].cells[2:] == ["no case in this stratum"]

    write_strata(strata_frame({case: {by: case == "c1"} for case in DICE}), path)
    assert [(row.stratum, row.n) for row in stratum_scores([read_run(path)], by)[0]] == [(small, 1), (large, 4)]


def test_strata_that_lack_a_scored_case_are_named_and_left_out(stratified):
    sizes = {case: size for case, size in SIZES.items() if case != "c3"}
    runs, _ = read_runs([stratified("a", sizes=sizes), stratified("b")])
    rows, notes = stratum_scores(runs, "size")

    assert {row.run for row in rows} == {"b"}
    assert notes == ["The strata.csv of a lacks 1 scored cases, such as c3."]


def test_a_run_without_strata_has_no_table(make_run):
    assert stratum_scores([read_run(make_run())], "size") == ([], [])


def test_runs_may_hold_other_cases_of_the_same_name(stratified):
    runs, _ = read_runs([stratified("a"), stratified("b", sizes={**SIZES, "c1": "<=2 cm"})])
    table = pd.DataFrame([(row.run, row.stratum, row.n) for row in stratum_scores(runs, "size")[0]])

    assert [tuple(row) for row in table.to_numpy() if row[1] in ("<=2 cm", ">7 cm")] == [
        ("a", "<=2 cm", 2),
        ("b", "<=2 cm", 3),
        ("a", ">7 cm", 1),
    ]
