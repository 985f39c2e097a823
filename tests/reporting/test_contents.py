from dataclasses import replace

import pytest

from kidney_lab.errors import InputError
from kidney_lab.metrics import metrics_frame, write_metrics
from kidney_lab.reporting.contents import Choices, collect


def test_a_baseline_beside_the_runs_joins_them(make_run, make_scores):
    contents = collect([make_run("runs/0")], Choices(baseline=str(make_scores())))

    assert [run.name for run in contents.runs] == ["nnunet", "unet3d-kits19"]
    assert contents.differences.baseline == "nnunet"
    assert list(contents.differences.table["difference"].round(6)) == [-0.05, 0.0]


def test_a_baseline_that_is_no_run_and_no_folder_is_refused(make_run, tmp_path):
    with pytest.raises(InputError, match=r"baseline=nothing is no run of this report: name one of unet3d-kits19, or"):
        collect([make_run()], Choices(baseline="nothing"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty cannot be the baseline: .*no run\.json"):
        collect([make_run("b")], Choices(baseline=str(tmp_path / "empty")))


def test_rows_of_annotators_are_of_the_regions_that_were_scored(make_run, agreement):
    contents = collect([make_run()], Choices(human=agreement))

    assert [(row.run, row.region) for row in contents.rows] == [
        ("unet3d-kits19", "kidney_and_mass"),
        ("human agreement", "kidney_and_mass"),
        ("unet3d-kits19", "tumor"),
        ("human agreement", "tumor"),
    ]
    assert len(contents.notes) == 1


def test_runs_without_scores_have_no_table_and_no_annotators(make_run, agreement):
    contents = collect([make_run(dice={})], Choices(human=agreement))

    assert (contents.rows, contents.notes, contents.sections, contents.differences) == ([], [], [], None)


def test_sections_are_differences_other_scores_and_strata(make_scores, tmp_path):
    sizes = dict.fromkeys(("case_00001", "case_00002", "case_00003", "case_00004"), "2-4 cm")
    paths = [make_scores("a", sizes=sizes), make_scores("b")]
    assert [section.id for section in collect(paths, Choices()).sections] == ["differences", "strata"]

    write_metrics(metrics_frame({"x": {("tumor", "hd95"): 3.0}}), tmp_path / "c")
    contents = collect([tmp_path / "c"], Choices())
    assert [section.id for section in contents.sections] == ["other-scores"]
    assert contents.left_out == []


def test_what_tables_leave_out_is_told_once_with_the_table_that_it_is_about(make_scores):
    contents = collect([make_scores("a"), make_scores("b")], Choices())
    (section,) = contents.sections
    again = replace(section, title="Another", notes=["left out: x", "left out: y"])
    told = replace(contents, sections=[replace(section, notes=["left out: x"]), again]).left_out

    assert told == [f"{section.title}: left out: x", "Another: left out: y"]
