from xml.etree import ElementTree as ET

import pytest

from kidney_lab.metrics import metrics_frame
from kidney_lab.reporting.plots import Series, line_plot, score_plot
from kidney_lab.reporting.runs import read_run, read_runs
from kidney_lab.reporting.svg import Span, span_of


def shapes(picture: str, tag: str, kind: str) -> list[ET.Element]:
    return [shape for shape in ET.fromstring(picture).iter(tag) if shape.get("class") == kind]


def test_every_defined_case_is_a_dot_that_names_itself(make_run):
    run = read_run(make_run())
    dots = shapes(score_plot({run.name: run.metrics}, "dice"), "circle", "dot")
    hints = [dot.findtext("title") for dot in dots]
    assert len(dots) == 7  # four of kidney and mass, three of the tumor: one is undefined
    assert "unet3d-kits19, case_00002: 0.500" in hints


def test_dots_lie_on_the_axis_where_their_value_is(make_run):
    dots = shapes(score_plot({"run": read_run(make_run()).metrics}, "dice"), "circle", "dot")
    at = {dot.findtext("title").split(": ")[1]: float(dot.get("cx")) for dot in dots}
    assert at["0.700"] - at["0.500"] == pytest.approx(at["0.900"] - at["0.700"], abs=0.02)


def test_each_run_has_its_own_colour(make_run):
    runs, _ = read_runs([make_run("a", seed=0), make_run("b", seed=1)])
    groups = ET.fromstring(score_plot({run.name: run.metrics for run in runs}, "surface_dice")).findall("g")
    assert [group.get("class") for group in groups] == ["c0", "c1", "c0", "c1"]
    assert [group.get("data-run") for group in groups] == [runs[0].name, runs[1].name] * 2


def tidy(values, metric="dice"):
    return metrics_frame({f"c{k}": {("tumor", metric): value} for k, value in enumerate(values)})


def test_five_cases_have_a_violin_and_four_have_none():
    picture = score_plot({"four": tidy([0.1, 0.2, 0.4, 0.8]), "five": tidy([0.1, 0.2, 0.4, 0.7, 0.8])}, "dice")
    without, with_violin = ET.fromstring(picture).findall("g")

    assert [shape.get("class") for shape in without][:2] == ["whisker", "box"]
    assert [shape.get("class") for shape in with_violin][:3] == ["violin", "whisker", "box"]


def test_equal_scores_are_drawn_without_a_violin():
    picture = score_plot({"run": tidy([0.7] * 6)}, "dice")

    assert len(shapes(picture, "circle", "dot")) == 6
    assert not shapes(picture, "polygon", "violin")


def test_an_axis_of_millimetres_covers_its_values():
    picture = score_plot({"run": tidy([2.0, 11.5], "hd95")}, "hd95")
    ticks = [float(tick.text) for tick in shapes(picture, "text", "tick")]

    assert (min(ticks), max(ticks)) == (2, 12)
    assert [title.text for title in shapes(picture, "text", "axis")] == ["Hausdorff distance, 95th percentile (mm)"]


def test_line_goes_through_its_points_and_stresses_the_kept_epoch():
    picture = line_plot([Series("train/loss", 0, [0, 1, 2], [2.0, 1.0, 0.5], marked=1)], title="Loss")
    (line,) = shapes(picture, "polyline", "line")
    assert len(line.get("points").split()) == 3
    (kept,) = shapes(picture, "circle", "dot marked")
    assert kept.findtext("title") == "train/loss, epoch 1: 1 (kept)"


def test_the_line_of_a_seed_is_thin_and_has_no_dots():
    seed = Series("Baseline", 1, [0, 1], [2.0, 1.0], is_seed=True)
    (group,) = ET.fromstring(line_plot([seed], title="Loss (train/loss)")).findall("g")

    assert [shape.get("class") for shape in group] == ["line seed"]
    assert (group.get("class"), group.get("data-run")) == ("c1", "Baseline")


def test_both_axes_are_named():
    picture = line_plot([Series("a", 0, [0], [1.0])], title="Loss (train/loss)")

    assert [title.text for title in shapes(picture, "text", "axis")] == ["Epoch", "Loss (train/loss)"]


def test_a_single_epoch_can_be_drawn():
    assert shapes(line_plot([Series("a", 0, [0], [1.0])], title="Loss"), "circle", "dot")


def test_axis_covers_its_values_with_round_ends():
    span = span_of([0.31, 1.72], 100, 0)
    assert (span.low, span.high) == pytest.approx((0.3, 1.8))
    assert Span(0, 2, 100, 0)(0.5) == 75
