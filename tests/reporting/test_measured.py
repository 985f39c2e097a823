import numpy as np
import pandas as pd
import pytest

from kidney_lab.errors import InputError
from kidney_lab.metrics import confusion, dice, metrics_frame
from kidney_lab.metrics.overlap import jaccard
from kidney_lab.reporting.measured import averaged, compared_rows, measured_rows, runs_by_table, with_jaccard
from kidney_lab.reporting.runs import read_run
from kidney_lab.reporting.scores import values_of

TUMOR = {"c1": {("tumor", "dice"): 0.5}}


def test_the_jaccard_index_out_of_dice_is_that_of_the_voxels():
    rng = np.random.default_rng(0)
    masks = {f"c{k}": rng.random((2, 4, 5, 6)) < 0.4 for k in range(6)}
    frame = metrics_frame({case: {("tumor", "dice"): dice(*pair)} for case, pair in masks.items()})

    found = values_of(with_jaccard(frame), "tumor", "jaccard")
    assert found.to_dict() == pytest.approx({case: jaccard(confusion(*pair)) for case, pair in masks.items()})


def test_a_jaccard_index_that_was_scored_stays():
    frame = metrics_frame({"c1": {("tumor", "dice"): 0.5, ("tumor", "jaccard"): 0.3}})

    assert with_jaccard(frame).equals(frame)


@pytest.fixture
def missed():
    """A table of HD95 in mm in which nothing is defined for c2, whose tumor was missed, and one in which all is."""
    return [
        metrics_frame({"c1": {("tumor", "hd95"): 20.0}, "c2": {("tumor", "hd95"): float("nan")}}),
        metrics_frame({"c1": {("tumor", "hd95"): 60.0}, "c2": {("tumor", "hd95"): 50.0}}),
    ]


def test_a_case_that_is_undefined_in_one_table_is_undefined_in_the_average(missed):
    found = values_of(averaged(missed), "tumor", "hd95")

    assert found.to_dict() == pytest.approx({"c1": 40.0, "c2": float("nan")}, nan_ok=True)


def test_the_average_of_one_table_is_that_table(missed):
    for frame in missed:
        pd.testing.assert_frame_equal(averaged([frame]), frame)


def test_a_score_that_one_table_does_not_have_is_the_average_of_the_others(missed):
    without = metrics_frame({"c1": {("tumor", "dice"): 0.2}, "c2": {("tumor", "dice"): 0.4}})

    found = values_of(averaged([*missed[1:], without]), "tumor", "hd95")
    assert found.to_dict() == {"c1": 60.0, "c2": 50.0}


def test_settings_are_what_divides_the_runs_of_some_row(write_row):
    small = "preset=small"
    runs = [
        write_row(name, row, TUMOR, table="p/t", overrides=overrides)
        for name, row, overrides in [
            ("a", "PM", ["model=x"]),
            ("b", "PM", ["model=x", small]),
            ("c", "Vanilla", ["model=y", small]),
        ]
    ]
    (rows,) = measured_rows([read_run(run) for run in runs]).values()

    assert [(row.title, row.settings) for row in rows] == [
        ("PM", frozenset()),
        ("PM (preset=small)", frozenset({small})),
        ("Vanilla", frozenset({small})),
    ]


def test_comparisons_of_all_runs_are_gathered_once_each(write_row, make_run):
    paths = [
        write_row("a", "A", TUMOR, table="p/t", compare={"B": "A", "C": ["A", "B"]}),
        write_row("b", "B", TUMOR, table="p/t", compare={"B": "A"}),
        write_row("c", "C", TUMOR, table="p/t"),
        write_row("d", "A", TUMOR, table="p/other"),
        make_run("none"),
    ]
    by_table = runs_by_table([read_run(path) for path in paths])

    assert {table: len(runs) for table, runs in by_table.items()} == {"p/t": 3, "p/other": 1}
    assert compared_rows(by_table["p/t"]) == [("B", "A"), ("C", "A"), ("C", "B")]
    assert compared_rows(by_table["p/other"]) == []
    with pytest.raises(InputError, match="names no pairs of rows"):
        compared_rows([read_run(write_row("e", "A", TUMOR, table="p/t", compare="B"))])
