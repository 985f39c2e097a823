import json

import pytest
from scipy.stats import ttest_rel, wilcoxon

from kidney_lab.errors import InputError
from kidney_lab.metrics import metrics_frame, write_metrics
from kidney_lab.reporting.contents import Choices, collect
from kidney_lab.reporting.html import write_report
from kidney_lab.reporting.runs import read_run, read_runs
from kidney_lab.reporting.stages import RESULT, stage_scores, stages_section

NAN = float("nan")
COARSE = [0.10, 0.20, 0.30, 0.40, 0.50, NAN]
UNPROCESSED = [0.31, 0.38, 0.52, 0.55, 0.80, 0.9]
FINE = [0.36, 0.39, 0.55, 0.62, 0.80, 0.9]
BEFORE = "unprocessed"


def frame(dice):
    """Scores of the tumor alone, its surface Dice half its Dice."""
    scores = {f"c{k}": {("tumor", "dice"): value, ("tumor", "surface_dice"): value / 2} for k, value in enumerate(dice)}
    return metrics_frame(scores)


@pytest.fixture
def make_staged(make_run):
    """Writes a run with the given Dice by stage; "unprocessed" and "result" are of what the stages make."""

    def make(folder="run", *, stages=("coarse", "fine"), **dice):
        run = make_run(folder, {}, stages={name: {} for name in stages}, overrides=[f"model={folder}"])
        folders = {"result": run, "unprocessed": run / "unprocessed"}
        for name, values in dice.items():
            write_metrics(frame(values), folders.get(name, run / "stages" / name))
        return run

    return make


def test_each_stage_is_compared_with_the_one_before_it_case_by_case(make_staged):
    run = read_run(make_staged(coarse=COARSE, unprocessed=UNPROCESSED, result=FINE))
    rows = [row for row in stage_scores([run]) if row.metric == "dice"]

    assert [(row.region, row.stage) for row in rows] == [("tumor", "coarse"), ("tumor", BEFORE), ("tumor", RESULT)]
    coarse, unprocessed, result = rows
    assert coarse.change is None
    assert (coarse.score.interval.mean, coarse.score.median) == pytest.approx((0.3, 0.3))
    assert (coarse.score.interval.n, coarse.score.interval.n_undefined) == (5, 1)
    # case by case over the five that coarse defines: 0.21, 0.18, 0.22, 0.15, 0.30
    assert unprocessed.change.difference.mean == pytest.approx(0.212)
    assert (unprocessed.change.difference.n, unprocessed.change.difference.n_undefined) == (5, 1)
    assert unprocessed.change.wilcoxon_p == pytest.approx(2 / 2**5)  # all of one sign
    assert unprocessed.change.t_p == pytest.approx(ttest_rel(UNPROCESSED[:5], COARSE[:5]).pvalue)
    assert result.change.difference.mean == pytest.approx((0.05 + 0.01 + 0.03 + 0.07) / 6)
    assert result.change.wilcoxon_p == pytest.approx(wilcoxon([0.05, 0.01, 0.03, 0.07]).pvalue)


def test_cases_are_matched_by_name_whatever_their_order(make_staged):
    run = make_staged(coarse=COARSE, result=FINE)
    header, *lines = (run / "stages" / "coarse" / "metrics.csv").read_text().splitlines()
    (run / "stages" / "coarse" / "metrics.csv").write_text("\n".join([header, *reversed(lines)]) + "\n")

    result = stage_scores([read_run(run)])[1]
    assert result.change.difference.mean == pytest.approx((0.26 + 0.19 + 0.25 + 0.22 + 0.30) / 5)


def test_table_corrects_all_its_tests_together(make_staged):
    run = read_run(make_staged(coarse=COARSE, unprocessed=UNPROCESSED, result=FINE))
    section = stages_section([run])

    assert [row.cells[:2] for row in section.rows] == [
        [score, stage] for score in ("Tumor: Dice ↑", "Tumor: Surface Dice ↑") for stage in ("coarse", BEFORE, RESULT)
    ]
    coarse, unprocessed, result = (row.cells for row in section.rows[:3])
    assert coarse[2].startswith("0.300 [")
    assert coarse[3:] == ["0.300", "5", "—", "—", "—"]
    assert unprocessed[5].startswith("+0.212 [+0.")
    # four tests: p = 1/16 twice, of Dice and of surface Dice, then 1/8 twice
    assert unprocessed[6:] == ["5", "0.062 (0.250)"]
    assert result[6:] == ["6", "0.125 (0.250)"]
    assert "over all 4 comparisons" in section.caption
    assert [row.kind for row in section.rows] == ["group", "", "", "group", "", ""]
    assert not section.by_run


def test_a_run_of_one_stage_shows_what_post_processing_did_and_nothing_without_that(make_staged):
    processed = read_run(make_staged("a", stages=["only"], unprocessed=UNPROCESSED, result=FINE))
    plain = read_run(make_staged("b", stages=["only"], result=FINE))

    assert [row.cells[1] for row in stages_section([processed]).rows[:2]] == [BEFORE, RESULT]
    assert plain.earlier == {}
    assert stages_section([plain]) is None


def test_stages_stand_in_the_order_in_which_they_were_trained(make_staged):
    run = make_staged(
        stages=["roi", "kidney", "a"], kidney=UNPROCESSED, roi=COARSE, unprocessed=UNPROCESSED, result=FINE
    )
    assert list(read_run(run).earlier) == ["roi", "kidney", BEFORE]


def test_post_processing_that_changed_no_score_is_no_difference_and_no_evidence(make_staged):
    result = stage_scores([read_run(make_staged(stages=["only"], unprocessed=FINE, result=FINE))])[1]
    assert result.change.difference.mean == 0
    assert result.change.wilcoxon_p == 1


def test_a_stage_that_does_not_score_a_region_is_passed_over_there(make_staged):
    run = make_staged(stages=["coarse", "kidney", "tumor"], coarse=COARSE, tumor=UNPROCESSED, result=FINE)
    kidney = metrics_frame({f"c{k}": {("kidney", "dice"): 0.9} for k in range(6)})
    write_metrics(kidney, run / "stages" / "kidney")

    rows = [row for row in stage_scores([read_run(run)]) if row.metric == "dice"]

    assert [row.stage for row in rows] == ["coarse", "tumor", RESULT]
    assert rows[1].change.difference.mean == pytest.approx(0.212)  # to the coarse stage, the last that has a tumor


def test_a_region_that_no_earlier_stage_scores_begins_with_the_result(make_staged):
    run = make_staged(coarse=COARSE, result=FINE)
    write_metrics(metrics_frame({f"c{k}": {("kidney", "dice"): 0.9} for k in range(6)}), run / "stages" / "coarse")

    row = stages_section([read_run(run)]).rows[0]
    assert (row.cells[1], row.cells[5:], row.kind) == (RESULT, ["—", "—", "—"], "group")


def test_runs_stand_below_each_other_and_those_without_stages_are_left_out(make_staged):
    folders = [
        make_staged("plain", stages=["only"], result=FINE),
        make_staged("cascade", coarse=COARSE, result=FINE),
        make_staged("other", coarse=COARSE, result=UNPROCESSED),
    ]
    section = stages_section(read_runs(folders)[0])

    runs = [(row.run.split("(")[1], row.color, row.cells[1]) for row in section.rows]
    cascade, other = ("model=cascade)", 1), ("model=other)", 2)
    assert runs == 2 * [(*run, stage) for run in (cascade, other) for stage in ("coarse", RESULT)]
    assert section.by_run


def test_section_is_on_the_page_and_in_markdown_before_the_comparison_of_runs(make_staged, tmp_path):
    run = make_staged(coarse=COARSE, unprocessed=UNPROCESSED, result=FINE)
    assert [section.id for section in collect([run], Choices()).sections] == ["stages"]

    report = write_report([run], tmp_path / "out")
    page = report.html.read_text()
    assert '<li><a href="#stages">Stage by stage</a></li>' in page
    assert f"<td>{BEFORE}</td>" in page
    assert "## Stage by stage" in report.scores.read_text()
    assert f"| Tumor: Dice ↑ | {BEFORE} | 0.577 [" in report.scores.read_text()


def test_damaged_scores_of_a_stage_are_told_by_their_file(make_staged):
    run = make_staged(coarse=COARSE, result=FINE)
    (run / "stages" / "coarse" / "metrics.csv").write_text("case,dice\n")
    with pytest.raises(InputError, match=r"coarse/metrics\.csv cannot be read"):
        read_run(run)


def test_the_results_that_are_kept_have_every_stage(make_staged, tmp_path):
    run = make_staged(coarse=COARSE, unprocessed=UNPROCESSED, result=FINE)

    (result,) = json.loads(write_report([run], tmp_path / "out").results.read_text())

    assert list(result["earlier"]) == ["coarse", BEFORE]
    coarse = result["earlier"]["coarse"]["tumor"]["dice"]
    assert (coarse["mean"], coarse["median"], coarse["n"], coarse["n_undefined"]) == (0.3, 0.3, 5, 1)
