import io
import re

from rich.console import Console

from kidney_lab.reporting.runs import read_run, read_runs
from kidney_lab.reporting.scores import score_rows
from kidney_lab.reporting.sections import TableRow, TableSection
from kidney_lab.reporting.tables import cases_markdown, print_scores, score_cells, score_header, scores_markdown


def test_terminal_shows_mean_interval_median_and_counts(make_run):
    out = io.StringIO()
    print_scores(read_run(make_run()).metrics, console=Console(file=out, width=140))
    tumor = next(line for line in out.getvalue().splitlines() if "Tumor" in line)
    cells = re.split(r"\s{2,}", tumor.strip())
    assert cells[0] == "Tumor"
    assert cells[1] == "0.700"
    assert cells[2] == "0.700"
    assert cells[3] == "0.350"
    assert cells[4:] == ["3", "1"]


def test_scores_in_markdown_have_a_row_per_region_and_run_and_say_where_they_come_from(make_run):
    runs, _ = read_runs([make_run()])
    text = scores_markdown(score_rows({run.name: run.metrics for run in runs}), runs)
    assert "| unet3d-kits19 | Kidney and mass | 0.950 | 0.950 | 0.900 | 4 | 0 |" in text
    assert "data kits19, split a, excluded: none, seed 7, commit 0123456789ab, on Test CPU, status finished" in text
    assert "# Scores of the test cases" in text
    assert "Phantom" not in text


def test_made_up_images_are_said_to_be_so_in_both_tables(make_run):
    runs, _ = read_runs([make_run(data={"name": "phantom", "synthesized": True})])
    assert "Phantom data" in scores_markdown([], runs)
    assert "Phantom data" in cases_markdown(runs)


def test_images_painted_for_patients_are_no_phantom(make_run):
    runs, _ = read_runs([make_run(data={"name": "kits19", "synthesized": True})])
    for text in (scores_markdown([], runs), cases_markdown(runs)):
        assert "**Synthesized images**: these scores say nothing about patients." in text
        assert "Phantom" not in text


def test_surface_dice_has_no_column_where_nothing_was_scored_by_it(make_run):
    runs, _ = read_runs([without_surfaces(make_run())])
    out = io.StringIO()
    print_scores(runs[0].metrics, console=Console(file=out, width=140))
    text = scores_markdown(score_rows({run.name: run.metrics for run in runs}), runs)

    assert "Surface" not in out.getvalue() + text + cases_markdown(runs)
    assert "| Run | Region | Dice, mean [95% CI] | Dice, median | Cases | Undefined |" in text
    assert "| unet3d-kits19 | Kidney and mass | 0.950 | 0.950 | 4 | 0 |" in text


def test_one_run_that_was_scored_by_surface_dice_brings_its_column_and_others_have_dashes(make_run):
    frames = {"a": read_run(make_run("a")).metrics, "b": read_run(without_surfaces(make_run("b"))).metrics}
    rows = score_rows(frames)

    assert score_header(rows)[3] == "Surface Dice, mean [95% CI]"
    assert [score_cells(row)[3] for row in rows[:2]] == ["0.900", "\N{EM DASH}"]


def without_surfaces(run):
    """The run as `metrics=[dice,hd95]` leaves it, but for the distances."""
    lines = (run / "metrics.csv").read_text().splitlines(keepends=True)
    (run / "metrics.csv").write_text("".join(line for line in lines if "surface_dice" not in line))
    return run


def test_cases_in_markdown_stand_worst_first_with_undefined_as_a_dash(make_run):
    lines = cases_markdown(read_runs([make_run()])[0]).splitlines()
    rows = [line for line in lines if line.startswith("| case_")]
    assert rows[0] == "| case_00002 | 0.950 | 0.900 | 0.500 | 0.250 |"
    assert rows[-1] == "| case_00004 | 0.950 | 0.900 | — | — |"


def test_split_and_excluded_cases_are_named(make_run):
    data = {"name": "kits23", "split": "kidney_lab", "fold": 2, "split_hash": "1c90", "exclude": ["thesis"]}
    runs, _ = read_runs([make_run(data={**data, "excluded": ["case_00160"]})])
    text = scores_markdown([], runs)
    assert "data kits23, split kidney_lab, fold 2 (1c90), excluded: thesis (1 case), seed 7" in text


def test_validation_scores_are_said_to_be_so_in_both_tables(make_run):
    runs, _ = read_runs([make_run(data={"name": "kits19", "scored": "validation"})])
    scores = scores_markdown(score_rows({run.name: run.metrics for run in runs}), runs)
    assert "# Scores of the validation cases" in scores
    assert "| unet3d-kits19 (validation) | Tumor |" in scores
    assert "has no test cases: these are scores of its validation cases" in scores
    assert "## unet3d-kits19 (validation)" in cases_markdown(runs)


def test_a_title_stands_above_the_scores_in_the_terminal(make_run):
    out = io.StringIO()
    print_scores(read_run(make_run()).metrics, title="kits19 (validation)", console=Console(file=out, width=140))
    assert out.getvalue().split("Region")[0].strip() == "kits19 (validation)"


def test_run_without_scores_says_so(make_run):
    assert "No test scores." in cases_markdown(read_runs([make_run(dice={})])[0])


def test_scores_alone_are_said_to_be_so(make_scores):
    runs, _ = read_runs([make_scores()])
    text = scores_markdown([], runs)
    assert "# Scores of the evaluated cases" in text
    assert "- **nnunet**: scores only, of 4 cases; what made the predictions is not recorded" in text


def test_notes_and_sections_stand_around_the_table(make_run):
    runs, _ = read_runs([make_run()])
    section = TableSection(
        "x", "By size", "Means.", ("Stratum", "Dice"), [TableRow("unet3d-kits19", 0, [">7 cm", "0.9"])]
    )
    text = scores_markdown([], runs, notes=["Mind this."], sections=[section])
    assert text.index("Mind this.") < text.index("| Run | Region |") < text.index("## By size")
    assert "| unet3d-kits19 | >7 cm | 0.9 |" in text
