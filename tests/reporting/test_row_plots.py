from xml.etree import ElementTree as ET

from kidney_lab.reporting.contents import Choices
from kidney_lab.reporting.html import write_report
from kidney_lab.reporting.row_groups import row_groups
from kidney_lab.reporting.row_plots import row_plots
from kidney_lab.reporting.runs import read_runs


def scores(*tumor):
    return {f"c{k}": {("tumor", "dice"): value, ("kidney", "dice"): 0.9} for k, value in enumerate(tumor)}


def hints(picture):
    return [dot.findtext("title") for dot in ET.fromstring(picture).iter("circle")]


def test_a_row_is_a_strip_of_its_runs_averages(write_row, tmp_path):
    paths = [
        write_row("0", "A", scores(0.5, 0.7), table="own/t", seed=0),
        write_row("1", "A", scores(0.7, 0.8), table="own/t", seed=1),
        write_row("2", "B", scores(0.1, 0.2), table="own/t", seed=0),
    ]
    (table,) = row_plots(row_groups(read_runs(paths)[0], tmp_path))

    assert table.title == "By row: own/t on kits19"
    assert table.legend == [(0, "A"), (1, "B")]
    assert table.averaged
    ((name, picture),) = table.plots
    assert name == "Dice"
    tumor = [hint for hint in hints(picture) if "0.900" not in hint]
    assert tumor == ["A, c0: 0.600", "A, c1: 0.750", "B, c0: 0.100", "B, c1: 0.200"]


def test_a_metric_of_the_paper_is_drawn_in_the_regions_that_it_prints(write_row, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "published.json").write_text(
        '[{"table": "t", "row": "A", "dataset": "kits19", "region": "tumor", "metric": "jaccard", "level": "case", '
        '"value": 0.5}, {"table": "t", "row": "A", "dataset": "kits19", "region": "tumor", "metric": "assd", '
        '"level": "case", "value": 3}]'
    )
    paths = [write_row(row, row, scores(0.5, 0.8), table="own/t") for row in "AB"]
    (table,) = row_plots(row_groups(read_runs(paths)[0], tmp_path))

    ((name, picture),) = table.plots  # nothing was scored of the other metric
    assert name == "Jaccard index (IoU)"
    assert hints(picture) == ["A, c0: 0.333", "A, c1: 0.667", "B, c0: 0.333", "B, c1: 0.667"]
    assert not table.averaged


def test_a_single_run_is_not_drawn_twice(write_row, tmp_path):
    runs, _ = read_runs([write_row("0", "A", scores(0.5), table="own/t")])

    assert row_plots(row_groups(runs, tmp_path)) == []


def test_the_report_has_tests_beside_the_table_and_a_figure_with_its_legend(write_row, tmp_path):
    data = {"name": "phantom", "synthesized": True, "split_hash": "p"}
    rows = {"A": (0.5, 0.6, 0.7, 0.65, 0.9), "B + MSAL": (0.4, 0.55, 0.6, 0.5, 0.7)}
    paths = [write_row(row[0], row, scores(*values), table="own/t", data=data) for row, values in rows.items()]
    report = write_report(paths, tmp_path / "out", Choices(experiments=tmp_path))

    text = report.published.read_text()
    assert text.index("## Beside the paper: own/t") < text.index("## Between the rows: own/t on phantom")
    assert "| B + MSAL minus A | Tumor: Dice ↑ | -0.120 [" in text
    assert "SYNTHESIZED: the images of phantom are made up, so that these differences say nothing" in text
    html = report.html.read_text()
    assert '<a href="#between-own-t-phantom">Between the rows: own/t on phantom</a>' in html
    assert '<th scope="row">B + MSAL minus A</th>' in html
    assert "Every row was trained once" in html
    figure = html[html.index("<h3>By row: own/t on phantom (SYNTHESIZED images)</h3>") :]
    assert figure.count('class="violin"') == 2  # of the tumor by row; the kidneys' scores are all the same
    assert '<span class="key c1" aria-hidden="true"></span>B + MSAL</li>' in figure
