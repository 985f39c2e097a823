from xml.etree import ElementTree as ET

import pytest

from kidney_lab.reporting.plots import Series, line_plot, score_plot
from kidney_lab.reporting.runs import read_run, read_runs
from kidney_lab.reporting.svg import Span, span_of


def shapes(picture: str, tag: str, kind: str) -> list[ET.Element]:
    return [shape for shape in ET.fromstring(picture).iter(tag) if shape.get("class") == kind]


def test_every_defined_case_is_a_dot_that_names_itself(make_run):
    run = read_run(make_run())
    dots = shapes(score_plot([run], "dice"), "circle", "dot")
    hints = [dot.findtext("title") for dot in dots]
    assert len(dots) == 7  # four of kidney and mass, three of the tumor: one is undefined
    assert "unet3d-kits19, case_00002: 0.500" in hints


def test_dots_lie_on_the_axis_where_their_value_is(make_run):
    dots = shapes(score_plot([read_run(make_run())], "dice"), "circle", "dot")
    at = {dot.findtext("title").split(": ")[1]: float(dot.get("cx")) for dot in dots}
    assert at["0.700"] - at["0.500"] == pytest.approx(at["0.900"] - at["0.700"], abs=0.02)


def test_each_run_has_its_own_colour(make_run):
    runs, _ = read_runs([make_run("a", seed=0), make_run("b", seed=1)])
    groups = ET.fromstring(score_plot(runs, "surface_dice")).findall("g")
    assert [group.get("class") for group in groups] == ["c0", "c1", "c0", "c1"]


def test_line_goes_through_its_points_and_stresses_the_kept_epoch():
    picture = line_plot([Series("train/loss", 0, [0, 1, 2], [2.0, 1.0, 0.5], marked=1)], title="Loss")
    (line,) = shapes(picture, "polyline", "line")
    assert len(line.get("points").split()) == 3
    (kept,) = shapes(picture, "circle", "dot marked")
    assert kept.findtext("title") == "train/loss, epoch 1: 1 (kept)"


def test_a_single_epoch_can_be_drawn():
    assert shapes(line_plot([Series("a", 0, [0], [1.0])], title="Loss"), "circle", "dot")


def test_axis_covers_its_values_with_round_ends():
    span = span_of([0.31, 1.72], 100, 0)
    assert (span.low, span.high) == pytest.approx((0.3, 1.8))
    assert Span(0, 2, 100, 0)(0.5) == 75
