import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from kidney_lab.errors import InputError
from kidney_lab.reporting.contents import Choices
from kidney_lab.reporting.html import write_report

VOID = {"meta", "link", "img", "br", "input"}


class Page(HTMLParser):
    """Tables by id as rows of texts, every attribute that may load something, and whether tags are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.references: list[str] = []
        self.ids: set[str] = set()
        self.text = ""
        self.open: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.references += [value for key, value in attrs if key in {"src", "href", "xlink:href", "srcset", "action"}]
        if "id" in attributes:
            self.ids.add(attributes["id"])
        if tag == "table":
            self.rows = self.tables.setdefault(attributes.get("id", ""), [])
        elif tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")
        elif tag == "img":
            self.images.append(attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data.strip()


@pytest.fixture
def page(make_run, tmp_path: Path) -> Page:
    run = make_run()
    (run / "figures").mkdir()
    (run / "figures" / "case_00002.png").write_bytes(b"picture")
    return Page(write_report([run, tmp_path / "nothing"], tmp_path / "out").html.read_text())


def test_report_and_tables_are_written_into_the_folder(make_run, tmp_path: Path):
    report = write_report([make_run()], tmp_path / "new" / "out")
    expected = [".report-files.json", "cases.md", "report.html", "results.json", "scores.md", "tables"]
    assert sorted(path.name for path in (tmp_path / "new" / "out").iterdir()) == expected
    assert report.html == tmp_path / "new" / "out" / "report.html"
    assert report.skipped == ()


def test_page_is_balanced_and_refers_to_nothing_outside_itself(page: Page):
    assert page.open == []
    for reference in page.references:
        assert reference.startswith("data:") or reference[1:] in page.ids, reference
    assert not re.search(r"https?://|@import|url\(", page.text)


def test_scores_are_those_of_the_run(page: Page):
    header, kidney, tumor = page.tables["score-table"]
    assert header == [
        "Region",
        "Dice, mean [95% CI]",
        "Dice, median",
        "Surface Dice, mean [95% CI]",
        "Cases",
        "Undefined",
    ]
    assert kidney == ["Kidney and mass", "0.950", "0.950", "0.900", "4", "0"]
    assert tumor[0] == "Tumor"
    assert tumor[1] == "0.700"
    assert tumor[4:] == ["3", "1"]


def test_nothing_is_shown_of_surface_dice_where_nothing_was_scored_by_it(make_run, tmp_path: Path):
    run = make_run()
    lines = (run / "metrics.csv").read_text().splitlines(keepends=True)
    (run / "metrics.csv").write_text("".join(line for line in lines if "surface_dice" not in line))
    page = Page(write_report([run], tmp_path / "out").html.read_text())

    assert page.tables["score-table"][0] == ["Region", "Dice, mean [95% CI]", "Dice, median", "Cases", "Undefined"]
    assert page.tables["case-table"][0] == ["Case", "Kidney and mass: Dice", "Tumor: Dice"]
    assert "Surface Dice" not in page.text


def test_cases_stand_worst_first(page: Page):
    _, *rows = page.tables["case-table"]
    assert [row[0] for row in rows] == ["case_00002", "case_00003", "case_00001", "case_00004"]
    assert rows[0][1:] == ["0.950", "0.900", "0.500", "0.250"]
    assert rows[-1][3:] == ["—", "—"]


def test_cost_has_a_row_per_stage_and_one_for_the_run(page: Page):
    _, stage, total = page.tables["cost-table"]
    assert stage[:7] == ["fine", "5.60 M", "1×1×96×96×96", "412 GFLOPs", "3", "30", "1 (tumor_dice 0.600)"]  # noqa: RUF001
    assert total[-2:] == ["2 h 02 min", "2.0 GiB"]


def test_facts_command_config_pictures_and_skipped_paths_are_there(page: Page):
    for text in (
        "unet3d-kits19",
        "0123456789ab",
        "Test CPU",
        "2 h 02 min",
        "python -m kidney_lab model=unet3d data=kits19",
        "name: <unet> & more",
        "nothing is no run folder",
    ):
        assert text in page.text
    assert "Phantom data" not in page.text
    assert "Three axial slices of case_00002" in (page.images[0]["alt"] or "")


def test_made_up_data_unfinished_runs_and_changed_code_are_told_loudly(make_run, tmp_path: Path):
    run = make_run(data={"name": "phantom", "synthesized": True}, status="failed", dirty=True)
    page = Page(write_report([run], tmp_path).html.read_text())
    for text in ("Phantom data", "say nothing about patients", "failed", "uncommitted changes"):
        assert text in page.text


def test_several_runs_stand_in_one_table(make_run, tmp_path: Path):
    runs = [
        make_run(str(i), overrides=[f"seed={i}"], dice={"case_00001": 0.5 + i / 10, "case_00002": 0.9}) for i in (0, 1)
    ]
    page = Page(write_report(runs, tmp_path).html.read_text())
    rows = page.tables["score-table"][1:]
    assert [row[:2] for row in rows] == [
        [f"unet3d-kits19 (seed={i})", region] for region in ("Kidney and mass", "Tumor") for i in (0, 1)
    ]
    assert [row[:2] for row in page.tables["case-table"][1:3]] == [
        ["unet3d-kits19 (seed=0)", "case_00001"],
        ["unet3d-kits19 (seed=1)", "case_00001"],
    ]
    assert "not all tested on the same cases" not in page.text


def test_runs_on_other_splits_are_said_not_to_compare(make_run, tmp_path: Path):
    runs = [make_run(name, dice={f"case_{name}": 0.5}, data={"name": "kits19", "split_hash": name}) for name in "ab"]
    text = write_report(runs, tmp_path, Choices(mixed=True)).html.read_text()
    assert "not all tested on the same cases" in Page(text).text


def test_folds_that_share_their_test_cases_compare(make_run, tmp_path: Path):
    split = {"name": "kits19", "split": "kidney_lab"}
    runs = [make_run(f"{fold}", data={**split, "fold": fold, "split_hash": f"{fold}"}) for fold in (0, 1)]
    assert "not all tested on the same cases" not in Page(write_report(runs, tmp_path).html.read_text()).text


def test_validation_scores_are_said_to_be_so(make_run, tmp_path: Path):
    data = {"name": "kits19", "split": "vnet_189_21", "split_hash": "4b96", "scored": "validation"}
    page = Page(write_report([make_run(data=data)], tmp_path).html.read_text())
    for text in (
        "unet3d-kits19 (validation)",
        "Scores of the validation cases",
        "Surface Dice of every validation case",
        "has no test cases",
        "validation scores",
        "vnet_189_21 (4b96)",
    ):
        assert text in page.text, text
    assert "test cases. Box" not in page.text


def test_excluded_cases_are_named(make_run, tmp_path: Path):
    data = {"name": "kits19", "exclude": ["nnunet2019"], "excluded": ["a", "b", "c", "d"]}
    assert "nnunet2019 (4 cases)" in Page(write_report([make_run(data=data)], tmp_path).html.read_text()).text


def test_editions_are_said_not_to_compare_on_the_page_in_the_table_and_in_the_log(make_run, tmp_path: Path, caplog):
    runs = [make_run(name, data={"name": name}) for name in ("kits19", "kits23")]
    for run in runs:
        text = (run / "metrics.csv").read_text()
        (run / "metrics.csv").write_text(text + "case_00001,kidney,dice,0.9\n")
    report = write_report(runs, tmp_path / "out", Choices(mixed=True))
    for text in (Page(report.html.read_text()).text, report.scores.read_text(), caplog.text):
        assert "KiTS19's kidney label contains the cysts" in text


def test_what_one_case_cost_stands_above_the_whole_run(make_run, tmp_path: Path):
    cost = {"n": 4, "seconds": 12.5, "windows": 27, "flops": 1.1e13, "peak_mib": 900.0, "device_mib": 2048.0}
    page = Page(write_report([make_run(cost_per_case=cost)], tmp_path).html.read_text())
    _, _, case, total = page.tables["cost-table"]
    assert case[:4] == ["One case, of 4", "5.60 M", "27 windows", "11.0 TFLOPs"]
    assert case[-2:] == ["12.5 s", "900 MiB, GPU 2.0 GiB"]
    assert total[0] == "Whole run"


def test_parameters_of_a_case_are_those_of_the_stage_that_contains_another(make_run, tmp_path: Path):
    cost = {"n": 4, "seconds": 1.0, "windows": 27, "flops": 1.1e13, "peak_mib": 900.0, "device_mib": None}
    stages = {"detector": {"parameters": 62_000_000}, "refit": {"parameters": 62_000_042}}
    run = make_run(cost_per_case=cost, stages=stages)
    (run / "config.yaml").write_text("model:\n  stages:\n    detector: {}\n    refit: {contains: detector}\n")
    (run / "epochs.csv").unlink()
    *_, case, _ = Page(write_report([run], tmp_path / "out").html.read_text()).tables["cost-table"]
    assert case[:2] == ["One case, of 4", "62.0 M"]


def test_runs_are_compared_with_the_first_on_the_page_and_in_markdown(make_run, make_scores, tmp_path: Path):
    report = write_report([make_run(), make_scores()], tmp_path / "out")
    page = Page(report.html.read_text())
    header, dice, surface = page.tables["differences-table"]
    assert header[:3] == ["Run", "Score", "Difference, mean [95% CI]"]
    assert dice[:4] == ["nnunet", "Tumor: Dice ↑", "+0.050", "3 of 4"]
    assert dice[4] == "0.250 (0.500)"  # all three of one sign: 2 of 8; the other difference is none, and counts
    assert surface[4:] == ["1.000 (1.000)", "1.000 (1.000)", "—", "—"]
    for text in (page.text, report.scores.read_text()):
        assert "Differences to unet3d-kits19" in text
        assert "Not scored for every case by every run, so not compared: Kidney and mass: Dice" in text
    assert {"differences", "differences-table"} <= page.ids


def test_runs_on_other_cases_are_said_not_to_be_compared_everywhere(make_run, make_scores, tmp_path: Path, caplog):
    runs = [make_run(dice={"case_00009": 0.5}), make_scores()]
    report = write_report(runs, tmp_path / "out", Choices(mixed=True))
    page = Page(report.html.read_text())
    assert "differences-table" not in page.tables
    for text in (page.text, report.scores.read_text(), caplog.text):
        assert "Compared on different cases: nnunet was scored on 4, unet3d-kits19 on 1, and 0 are in both" in text


def test_scores_alone_are_marked_and_offer_no_command(make_scores, make_run, tmp_path: Path):
    page = Page(write_report([make_scores()], tmp_path / "one").html.read_text())
    assert "scores only" in page.text
    assert "Scores of the evaluated cases" in page.text
    assert "Run it again" not in page.text
    assert page.open == []

    page = Page(write_report([make_run(), make_scores()], tmp_path / "two").html.read_text())
    header, run, scores = page.tables["run-table"]
    assert [row[header.index("Status")] for row in (run, scores)] == ["finished", "scores only"]
    assert page.text.count("python -m kidney_lab model=unet3d") == 1


def test_annotators_are_a_row_of_the_scores_and_of_no_test(make_run, make_scores, agreement, tmp_path: Path):
    choices = Choices(human=agreement)
    report = write_report([make_run()], tmp_path / "one", choices)
    page = Page(report.html.read_text())
    assert [row[:3] for row in page.tables["score-table"]][2:] == [
        ["human agreement", "Kidney and mass", "—"],
        ["unet3d-kits19", "Tumor", page.tables["score-table"][3][2]],
        ["human agreement", "Tumor", "0.960"],
    ]
    assert page.open == []
    for text in (page.text, report.scores.read_text()):
        assert "1 of them among those scored here" in text
    assert page.text.count("mean Dice") == 2  # tiles of the run alone

    page = Page(write_report([make_run("b"), make_scores()], tmp_path / "two", choices).html.read_text())
    assert {row[0] for row in page.tables["differences-table"][1:]} == {"nnunet"}


def test_scores_by_tumor_size_follow_where_strata_are_known(make_run, make_scores, tmp_path: Path):
    sizes = {"case_00001": "<=2 cm", "case_00002": "4-7 cm", "case_00003": "4-7 cm", "case_00004": ">7 cm"}
    page = Page(write_report([make_scores(gain=0.0, sizes=sizes)], tmp_path / "one").html.read_text())
    assert [row[:3] for row in page.tables["strata-table"]] == [
        ["Stratum", "Cases", "Dice ↑, mean [95% CI]"],
        ["<=2 cm", "1", "0.900"],
        ["2-4 cm", "0", "no case in this stratum"],
        ["4-7 cm", "2", "0.600"],
        [">7 cm", "1", "—"],
    ]
    assert "Tumor scores by tumor size" in page.text
    page = Page(write_report([make_run()], tmp_path / "two").html.read_text())
    assert "strata-table" not in page.tables


def test_run_that_failed_early_can_be_reported(make_run, tmp_path: Path):
    run = make_run(dice={}, status="failed", data=None, stages={}, versions=None, commit=None, started=None)
    (run / "epochs.csv").unlink()
    page = Page(write_report([run], tmp_path).html.read_text())
    assert "There are no test scores yet" in page.text


def test_no_run_at_all_is_an_error(tmp_path: Path):
    with pytest.raises(InputError, match="none of the 1 given paths is a run"):
        write_report([tmp_path], tmp_path / "out")
