from xml.etree import ElementTree as ET

import pytest

from kidney_lab.metrics.strata import strata_frame, write_strata
from kidney_lab.reporting.contents import Choices
from kidney_lab.reporting.html import write_report
from kidney_lab.reporting.row_groups import row_groups
from kidney_lab.reporting.row_plots import plot_sets
from kidney_lab.reporting.runs import read_runs

PHANTOM = {"name": "phantom", "synthesized": True, "split_hash": "p"}


def scores(*tumor):
    return {f"c{k}": {("tumor", "dice"): value, ("kidney", "dice"): 0.9} for k, value in enumerate(tumor)}


def sets_of(paths, folder):
    runs, _ = read_runs(paths)
    return plot_sets(runs, row_groups(runs, folder))


def hints(plot):
    return [dot.findtext("title") for dot in ET.fromstring(plot.svg).iter("circle")]


def kinds(plots):
    return [plot.name.partition("-own-t-")[0] for plot in plots]


@pytest.fixture
def table(write_row):
    """Three rows of one seed, six cases each with tumors of known size, on a phantom."""
    rows = {"A": (0.5, 0.6, 0.7, 0.65, 0.9, 0.3), "B + MSAL": (0.4, 0.55, 0.6, 0.5, 0.7, 0.2), "C": (0.1,) * 6}
    sizes = strata_frame({f"c{k}": {"tumor_diameter_mm": 10.0 * (k + 1)} for k in range(6)})
    sizes = sizes.assign(size="<=2 cm")
    paths = [write_row(row[0], row, scores(*values), table="own/t", data=PHANTOM) for row, values in rows.items()]
    for path in paths:
        write_strata(sizes, path)
    return paths


def test_a_row_is_a_strip_of_its_runs_averages(write_row, tmp_path):
    paths = [
        write_row("0", "A", scores(0.5, 0.7), table="own/t", seed=0),
        write_row("1", "A", scores(0.7, 0.8), table="own/t", seed=1),
        write_row("2", "B", scores(0.1, 0.2), table="own/t", seed=0),
    ]
    (found,) = sets_of(paths, tmp_path)

    assert (found.id, found.title) == ("plots-own-t-kits19", "By row: own/t on kits19")
    assert found.legend == [(0, "A"), (1, "B")]
    assert found.caption == (
        "Scores are averaged over the runs (seeds) of a row, case by case. "
        "What is undefined for a case in any run of a row is undefined for that case of the row."
    )
    violins = found.plots[0]
    assert (violins.name, violins.title) == ("violins-dice-own-t-kits19", "Dice of every case: own/t on kits19")
    assert not violins.repeats
    tumor = [hint for hint in hints(violins) if "0.900" not in hint]
    assert tumor == ["A, c0: 0.600", "A, c1: 0.750", "B, c0: 0.100", "B, c1: 0.200"]


def test_a_metric_of_the_paper_is_drawn_in_the_regions_that_it_prints(write_row, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "published.json").write_text(
        '[{"table": "t", "row": "A", "dataset": "kits19", "region": "tumor", "metric": "jaccard", "level": "case", '
        '"value": 0.5}, {"table": "t", "row": "A", "dataset": "kits19", "region": "tumor", "metric": "assd", '
        '"level": "case", "value": 3}]'
    )
    paths = [write_row(row, row, scores(0.5, 0.8), table="own/t") for row in "AB"]
    (found,) = sets_of(paths, tmp_path)

    assert kinds(found.plots)[:2] == ["violins-jaccard", "boxes-jaccard-tumor"]  # nothing was scored of the other
    assert hints(found.plots[0]) == ["A, c0: 0.333", "A, c1: 0.667", "B, c0: 0.333", "B, c1: 0.667"]
    assert found.caption == ""


def test_every_kind_of_plot_is_drawn_and_says_that_images_are_made_up(table, tmp_path):
    (found,) = sets_of(table, tmp_path)

    assert kinds(found.plots) == [
        *("violins-dice", "boxes-dice-tumor", "boxes-dice-kidney", "diameter-dice-tumor"),
        *("cost-dice-tumor", "cost-dice-kidney"),
        *("critical-difference-dice-tumor", "critical-difference-dice-kidney"),
        *("learning-fine-loss", "learning-fine-dice"),
    ]
    assert {plot.note for plot in found.plots} == {"Data: phantom (SYNTHESIZED images)"}
    assert all("phantom (SYNTHESIZED images)" in plot.title for plot in found.plots)
    ranks = next(plot for plot in found.plots if plot.name.startswith("critical-difference-dice-tumor"))
    # A is best in all six cases and C the worst: 12 / (6 * 12) * (6^2 + 12^2 + 18^2) - 3 * 6 * 4 = 12
    assert "over 6 cases: χ² = 12.00, p = 0.002" in ranks.caption
    assert [text.text for text in ET.fromstring(ranks.svg).iter("text")][-3:] == [
        "A (1.00)",
        "B + MSAL (2.00)",
        "C (3.00)",
    ]


def test_two_rows_have_no_critical_differences_and_rows_without_sizes_no_diameters(write_row, tmp_path):
    paths = [write_row(row, row, scores(*[0.5, 0.8] * 4), table="own/t") for row in "AB"]
    (found,) = sets_of(paths, tmp_path)

    assert not [kind for kind in kinds(found.plots) if kind.startswith(("critical", "diameter"))]


def test_a_single_run_is_not_drawn_twice_on_the_page(write_row, tmp_path):
    (found,) = sets_of([write_row("0", "A", scores(0.5), table="own/t")], tmp_path)

    assert found.in_page == []
    assert kinds(found.plots)[0] == "violins-dice"  # which a paper may want


def test_runs_of_no_table_are_compared_run_by_run(make_run, tmp_path):
    (found,) = sets_of([make_run("a", seed=0), make_run("b", seed=1)], tmp_path)

    assert found.title == "By run: kits19"
    assert [name for _, name in found.legend] == ["unet3d-kits19 (a)", "unet3d-kits19 (b)"]
    shown = [plot.name for plot in found.in_page]
    assert "boxes-dice-tumor-kits19" in shown
    assert "violins-dice-kits19" not in shown  # the page has them anyway


def test_so_many_violins_that_they_would_not_fit_a_page_have_a_plot_for_each_region(write_row, tmp_path):
    paths = [write_row(f"{k}", f"row {k}", scores(0.5, 0.6), table="own/t") for k in range(16)]
    (found,) = sets_of(paths, tmp_path)

    assert kinds(found.plots)[:2] == ["violins-dice-tumor", "violins-dice-kidney"]


def test_the_report_has_tests_beside_the_table_and_figures_with_a_legend(table, tmp_path):
    report = write_report(table, tmp_path / "out", Choices(experiments=tmp_path))

    text = report.published.read_text()
    assert text.index("## Measured: own/t") < text.index("## Between the rows: own/t on phantom")
    assert "| B + MSAL minus A | Tumor: Dice ↑ | -0.117 [" in text
    assert "SYNTHESIZED: the images of phantom are made up, so that these differences say nothing" in text
    html = report.html.read_text()
    assert '<a href="#between-own-t-phantom">Between the rows: own/t on phantom</a>' in html
    assert '<th scope="row">B + MSAL minus A</th>' in html
    assert "Every row was trained once" in html
    title = "By row: own/t on phantom (SYNTHESIZED images)"
    assert f'<a href="#plots-own-t-phantom">{title}</a>' in html
    section = html[html.index(f"<h2>{title}</h2>") :]
    section = section[: section.index("</section>")]
    assert section.count('class="violin"') == 2  # of the tumor by A and B; other scores are all the same
    assert '<span class="key c1" aria-hidden="true"></span>B + MSAL</li>' in section
    assert not (tmp_path / "out" / "figures").exists()


def test_figures_for_a_paper_are_written_where_wanted(write_row, tmp_path):
    paths = [write_row(row, row, scores(0.5, 0.8), table="own/t") for row in "AB"]
    write_report(paths, tmp_path / "out", Choices(experiments=tmp_path, figures=True))

    names = {path.name for path in (tmp_path / "out" / "figures").iterdir()}
    assert {"boxes-dice-tumor-own-t-kits19.png", "boxes-dice-tumor-own-t-kits19.pdf"} <= names
    assert {name[-4:] for name in names} == {".png", ".pdf", "s.md"}
