import json

import pytest

from kidney_lab.reporting.contents import Choices
from kidney_lab.reporting.html import write_report
from kidney_lab.reporting.human import HumanAgreement
from kidney_lab.reporting.measured import measured_rows
from kidney_lab.reporting.runs import read_run
from kidney_lab.reporting.sections import section_markdown
from tests.reporting.published_tables import published_sections

KITS19 = {"name": "kits19", "synthesized": False, "split_hash": "a"}
PHANTOM = {"name": "phantom", "synthesized": True, "split_hash": "b"}


@pytest.fixture
def experiments(tmp_path):
    """A paper with a table of two rows, of which one has no runs here."""
    scores = [("PM", "kidney_and_mass", "dice", "case", 0.95), ("PM", "tumor", "dice", "case", 0.8)]
    scores += [("PM", None, "mean_dice", "case", 0.875), ("PM", None, "leaderboard_rank", None, 23)]
    scores += [("nnU-Net", "tumor", "dice", "case", 0.8554), ("nnU-Net", "tumor", "dice", "slice", 0.9)]
    keys = ("row", "region", "metric", "level", "value")
    entries = [{"table": "t1", "dataset": "kits19", **dict(zip(keys, score, strict=True))} for score in scores]
    (tmp_path / "experiments" / "paper").mkdir(parents=True)
    (tmp_path / "experiments" / "paper" / "published.json").write_text(json.dumps(entries))
    return tmp_path / "experiments"


@pytest.fixture
def make_row(write_row):
    """Writes a run of a row with the given Dice of the tumor by case; the kidney's is 0.9."""

    def make(folder, row, tumor, *, table="paper/t1", **record):
        scores = {c: {("kidney_and_mass", "dice"): 0.9, ("tumor", "dice"): value} for c, value in tumor.items()}
        return write_row(folder, row, scores, table=table, **record)

    return make


def cells(section):
    return [tuple(row.cells) for row in section.rows]


def test_seeds_are_averaged_case_by_case_and_stand_beside_what_is_published(make_row, experiments):
    nan = float("nan")
    first = make_row(
        "a", "PM", {"c1": 0.6, "c2": 0.9, "c3": nan, "c4": nan}, overrides=["+experiments=paper/t1", "seed=0"]
    )
    second = make_row(
        "b", "PM", {"c1": 0.8, "c2": 0.9, "c3": 0.5, "c4": nan}, overrides=["+experiments=paper/t1", "seed=1"]
    )
    (section,) = published_sections([read_run(first), read_run(second)], experiments)

    table = cells(section)
    # c1: (0.6 + 0.8) / 2 = 0.7, c2: 0.9, c3: undefined in the first run, c4: in both; the mean of the two is 0.8.
    assert table[1][:3] == ("PM", "Tumor", "Dice ↑")
    assert table[1][3] == "0.800"
    # The runs' own means are 0.75, of c1 and c2, and 2.2 / 3 = 0.7333: their standard deviation is 0.0167 / sqrt(2).
    assert table[1][4:] == ("2", "2", "0.8000", "+0.000", "0.012", "0.800")
    assert table[0] == (
        "PM",
        "Kidney and mass",
        "Dice ↑",
        "0.900",
        "2",
        "4",
        "0.9500",
        "-0.050",
        "0.000",
        "0.900",
    )
    # (0.9 + 0.7) / 2, (0.9 + 0.9) / 2: 0.85
    assert table[2][:3] == ("PM", "", "Mean Dice")
    assert table[2][3] == "0.850"
    assert table[2][4:8] == ("2", "2", "0.8750", "-0.025")
    assert section.header[-2:] == ("SD of runs", "Median")
    rule = section.explanations[0]
    assert "averaged over the runs case by case, and the mean and its interval are over the cases." in rule
    assert "What is undefined for a case in any run of a row is undefined for that case of the row." in rule


def test_rows_without_runs_and_numbers_that_only_the_paper_has_stand_alone(make_row, experiments):
    (section,) = published_sections([read_run(make_row("a", "PM", {"c1": 0.5, "c2": 0.7}))], experiments)

    assert cells(section)[3:] == [
        ("PM", "", "Leaderboard rank", "—", "—", "—", "23", "—", "—"),
        ("nnU-Net", "Tumor", "Dice ↑", "—", "—", "—", "0.8554", "—", "—"),
        ("nnU-Net", "Tumor", "Dice ↑", "—", "—", "—", "0.9000", "—", "—"),
    ]
    assert [row.kind for row in section.rows] == ["group", "", "", "", "group", ""]
    assert section.notes == []


def test_a_row_that_is_not_in_the_paper_has_what_was_measured(make_row, experiments):
    (section,) = published_sections([read_run(make_row("a", "extra: no prior", {"c1": 0.5, "c2": 0.5}))], experiments)

    assert cells(section)[-3:] == [
        ("extra: no prior", "Kidney and mass", "Dice ↑", "0.900", "1", "2", "—", "—", "0.900"),
        ("extra: no prior", "Tumor", "Dice ↑", "0.500", "1", "2", "—", "—", "0.500"),
        ("extra: no prior", "", "Mean Dice", "0.700", "1", "2", "—", "—", "0.700"),
    ]


def test_a_table_of_which_nothing_is_published_shows_the_dice_of_every_region(make_row, experiments):
    run = read_run(make_row("a", "mine", {"c1": 0.5, "c2": 0.5}, table="own/t9"))
    (section,) = published_sections([run], experiments)

    assert section.title == "Measured: own/t9"
    assert section.header == ("Row", "Region", "Metric", "Measured [95% CI]", "Runs", "Cases", "Median")
    assert "published" not in section.caption
    assert [row[:3] for row in cells(section)] == [
        ("mine (kits19)", "Kidney and mass", "Dice ↑"),
        ("mine (kits19)", "Tumor", "Dice ↑"),
    ]


def test_a_table_of_our_own_has_the_scores_of_the_paper_s_tables(make_row, experiments):
    run = read_run(make_row("a", "mine", {"c1": 0.5, "c2": 0.5}, table="paper/own"))
    (section,) = published_sections([run], experiments)

    assert section.title == "Measured: paper/own"
    assert [row[1:4] for row in cells(section)] == [
        ("Kidney and mass", "Dice ↑", "0.900"),
        ("Tumor", "Dice ↑", "0.500"),
        ("", "Mean Dice", "0.700"),
    ]
    assert "Jaccard" not in section.caption


def test_the_jaccard_index_that_a_table_publishes_comes_of_each_case_s_dice(make_row, experiments):
    file = experiments / "paper" / "published.json"
    entry = {"table": "t1", "row": "PM", "dataset": "kits19", "region": "tumor", "metric": "jaccard", "level": "case"}
    file.write_text(json.dumps([{**entry, "value": 0.7}]))
    (section,) = published_sections([read_run(make_row("a", "PM", {"c1": 0.5, "c2": 0.8}))], experiments)

    # 0.5 / 1.5 = 1 / 3 and 0.8 / 1.2 = 2 / 3; out of the mean Dice it would be 0.65 / 1.35 = 0.481
    (row,) = cells(section)
    assert row[3] == "0.500"
    assert "D / (2 - D), where it was not scored itself" in section.caption


def test_made_up_images_and_other_data_are_named_in_every_row_and_below(make_row, experiments):
    phantom = make_row("a", "PM", {"c1": 0.5, "c2": 0.5}, data=PHANTOM)
    kits21 = make_row("b", "PM", {"c1": 0.5, "c2": 0.5}, data={**KITS19, "name": "kits21"})
    painted = make_row("c", "PM", {"c1": 0.5, "c2": 0.5}, data={**KITS19, "synthesized": True})
    (section,) = published_sections([read_run(run) for run in (phantom, kits21, painted)], experiments)

    titles = dict.fromkeys(row[0] for row in cells(section))
    assert list(titles) == ["PM (phantom, SYNTHESIZED)", "PM (kits21)", "PM (SYNTHESIZED)", "nnU-Net"]
    assert section.notes[0].startswith("SYNTHESIZED: the images of kits19, phantom are made up, so that")
    assert section.notes[1] == "The paper scored kits19: what was measured on kits21 does not reproduce it."


def test_runs_of_a_row_with_other_overrides_are_not_averaged(make_row):
    plain, small = ["+experiments=paper/t1"], ["+experiments=paper/t1", "preset=small"]
    runs = [make_row(f"r{k}", "PM", {"c1": 0.5}, overrides=own) for k, own in enumerate([plain, small, small])]
    (rows,) = measured_rows([read_run(run) for run in runs]).values()

    assert [(row.changes, len(row.runs)) for row in rows] == [((), 1), (("preset=small",), 2)]


def test_runs_of_no_table_and_without_scores_are_left_out(make_run, make_row, make_scores, experiments):
    others = [read_run(path) for path in (make_run(), make_scores(), make_row("begun", "PM", {}))]

    assert [run.experiment for run in others] == [None, None, ("paper/t1", "PM")]
    assert published_sections(others, experiments) == []


def test_a_mean_whose_parts_the_paper_does_not_print_stands_alone(make_row, experiments):
    file = experiments / "paper" / "published.json"
    file.write_text(json.dumps([entry for entry in json.loads(file.read_text()) if entry["metric"] == "mean_dice"]))
    (section,) = published_sections([read_run(make_row("a", "PM", {"c1": 0.5}))], experiments)

    assert cells(section) == [("PM", "", "Mean Dice", "—", "—", "—", "0.8750", "—")]


def test_numbers_of_two_datasets_are_two_tables(make_row, experiments):
    file = experiments / "paper" / "published.json"
    entries = json.loads(file.read_text())
    file.write_text(json.dumps(entries + [{**entry, "dataset": "kits21"} for entry in entries]))
    runs = [make_row("a", "PM", {"c1": 0.5}), make_row("b", "PM", {"c1": 0.5}, data=PHANTOM)]
    sections = published_sections([read_run(run) for run in runs], experiments)

    assert [section.id for section in sections] == ["published-paper-t1-kits19", "published-paper-t1-kits21"]
    assert [list(dict.fromkeys(row[0] for row in cells(section))) for section in sections] == [
        ["PM", "PM (phantom, SYNTHESIZED)", "nnU-Net"],
        ["PM (phantom, SYNTHESIZED)", "nnU-Net"],
    ]


def test_the_report_shows_the_table_and_writes_it_down(make_row, make_run, experiments, tmp_path):
    choices = Choices(experiments=experiments)
    report = write_report([make_row("a", "PM", {"c1": 0.5, "c2": 0.7}, data=PHANTOM)], tmp_path / "out", choices)

    assert report.published is not None
    text = report.published.read_text()
    assert "| Row | Region | Metric | Measured [95% CI] | Runs | Cases | Published | Difference |" in text
    assert "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |" in text
    assert "SYNTHESIZED: the images of phantom are made up" in text
    html = report.html.read_text()
    assert '<a href="#published-paper-t1-kits19">Beside the paper: paper/t1 on kits19</a>' in html
    assert '<th scope="row">PM (phantom, SYNTHESIZED)</th>' in html
    assert "<td>Tumor</td>" in html

    assert write_report([make_run("b")], tmp_path / "out", choices).published is None
    assert not (tmp_path / "out" / "published.md").exists()


def test_numbers_that_no_method_can_have_are_marked_and_explained(make_row, experiments, tmp_path):
    file = experiments / "paper" / "published.json"
    entry = {"table": "t1", "row": "PM", "dataset": "kits19", "region": "tumor", "metric": "sensitivity"}
    file.write_text(json.dumps([*json.loads(file.read_text()), {**entry, "level": "case", "value": 0.5}]))
    run = make_row("a", "PM", {"c1": 0.5, "c2": 0.7})
    (section,) = published_sections([read_run(run)], experiments)

    # Dice 0.8 with sensitivity 0.5 is above 2 * 0.5 / 1.5; kidneys and other rows keep their numbers without a mark.
    assert [row[6] for row in cells(section)] == [
        *("0.9500", "\N{DAGGER} 0.8000", "0.8750", "23", "\N{DAGGER} 0.5000"),
        *("0.8554", "0.9000"),
    ]
    assert cells(section)[1][7] == "-0.200"
    sentence = (
        "\N{DAGGER} No method can have these numbers: Dice is at most 2 s / (1 + s), s sensitivity, for pooled counts "
        "and for means over the same cases. Broken by PM, tumor (0.8000, at most 0.6667)."
    )
    assert section.notes == [sentence]
    report = write_report([run], tmp_path / "out", Choices(experiments=experiments))
    assert report.published is not None
    assert f"\n{sentence}\n" in report.published.read_text()
    assert "| PM | Tumor | Dice \N{UPWARDS ARROW} | 0.600 | 1 | 2 | \N{DAGGER} 0.8000 | -0.200 |" in (
        report.published.read_text()
    )
    html = report.html.read_text()
    assert f'<p class="caption">{sentence}</p>' in html
    assert '<td class="number">\N{DAGGER} 0.8000</td>' in html


def test_a_paper_that_does_not_name_its_data_has_one_table(make_row, experiments):
    file = experiments / "paper" / "published.json"
    file.write_text(json.dumps([{**entry, "dataset": None} for entry in json.loads(file.read_text())]))
    (section,) = published_sections([read_run(make_row("a", "PM", {"c1": 0.5}))], experiments)

    assert (section.id, section.title) == ("published-paper-t1", "Beside the paper: paper/t1")
    assert list(dict.fromkeys(row[0] for row in cells(section))) == ["PM (kits19)", "nnU-Net"]


def test_a_second_number_of_a_row_stands_beside_the_runs_of_the_first(make_row, experiments):
    file = experiments / "paper" / "published.json"
    again = {"table": "t1", "row": "PM (conclusion)", "runs_of": "PM", "dataset": "kits19", "region": "tumor"}
    second = [
        {**again, "metric": "dice", "level": "case", "value": 0.7},
        {**again, "region": None, "metric": "mean_dice", "level": "case", "value": 0.8},
    ]
    file.write_text(json.dumps([*json.loads(file.read_text()), *second]))
    (section,) = published_sections([read_run(make_row("a", "PM", {"c1": 0.5}, data=PHANTOM))], experiments)

    assert cells(section)[1][3] == "0.500"
    title = "PM (conclusion) (phantom, SYNTHESIZED)"
    assert cells(section)[-2:] == [
        (title, "Tumor", "Dice ↑", "0.500", "1", "1", "0.7000", "-0.200", "0.500"),
        (title, "", "Mean Dice", "0.700", "1", "1", "0.8000", "-0.100", "0.700"),
    ]


def test_annotators_are_a_column_of_the_table(make_row, experiments, agreement):
    runs = [read_run(make_row("a", "PM", {"c1": 0.5, "c2": 0.7}))]
    (section,) = published_sections(runs, experiments, HumanAgreement.read(agreement))

    assert section.explanations[0].startswith("Human agreement: annotators against each other on 2 cases, 0 of them")
    place = section.header.index("Human [95% CI]")
    assert [row[place] for row in cells(section)] == [
        "—",
        "0.960",
        "—",
        "—",
        "0.960",
        "—",
    ]


def test_the_best_measured_value_of_a_score_is_bold_among_runs_on_the_same_data(make_row, experiments):
    runs = [make_row("a", "PM", {"c1": 0.5, "c2": 0.7}), make_row("b", "extra: x", {"c1": 0.5, "c2": 0.9})]
    runs += [make_row("c", "extra: y", {"c1": 0.9, "c2": 0.9}, data=PHANTOM)]
    (section,) = published_sections([read_run(run) for run in runs], experiments)

    bold = {tuple(section.rows[row].cells[:3]) for row, column in section.best if column == 3}
    # Kidneys are alike; the extra row is better at tumors; that on other data is set against nothing.
    assert bold == {("extra: x", "Tumor", "Dice ↑")}
    assert "| extra: x | Tumor | Dice ↑ | **0.700** |" in "\n".join(section_markdown(section))
