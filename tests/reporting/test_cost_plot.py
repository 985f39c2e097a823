from xml.etree import ElementTree as ET

import numpy as np
import pytest

from kidney_lab.reporting.compared import compared
from kidney_lab.reporting.cost_plot import PER_CASE, PER_PASS, Cost, cost_plot, costs_of, side_by_side
from kidney_lab.reporting.row_groups import row_groups
from kidney_lab.reporting.runs import read_runs
from kidney_lab.reporting.statistics import Interval


def stage(flops, parameters):
    return {"flops": flops, "parameters": parameters}


def methods_of(paths, folder):
    runs, _ = read_runs(paths)
    (found,) = compared(runs, row_groups(runs, folder))
    return found.methods


def tumor(*dice):
    return {f"c{k}": {("tumor", "dice"): value} for k, value in enumerate(dice)}


def test_a_row_has_the_mean_of_its_runs_costs_and_a_dot_for_each(write_row, tmp_path):
    stages = {"coarse": stage(1e9, 100), "fine": stage(3e9, 300)}
    paths = [
        write_row("0", "A", tumor(0.2, 0.4), table="own/t", stages=stages, seed=0, cost_per_case={"flops": 5e9}),
        write_row("1", "A", tumor(0.4, 0.6), table="own/t", stages=stages, seed=1, cost_per_case={"flops": 7e9}),
    ]
    what, points = costs_of(methods_of(paths, tmp_path), ["tumor"])

    assert what == PER_CASE
    (point,) = points["tumor"]
    assert (point.name, point.flops, point.parameters) == ("A", 6e9, pytest.approx(400))
    assert (point.dice.mean, point.dice.n) == (pytest.approx(0.4), 2)
    assert point.seeds == pytest.approx([0.3, 0.5])


def test_one_row_without_the_flops_of_a_case_has_all_compared_by_one_pass(write_row, tmp_path):
    stages = {"fine": stage(3e9, 300)}
    paths = [
        write_row("0", "A", tumor(0.2, 0.4), table="own/t", stages=stages, cost_per_case={"flops": 5e9}),
        write_row("1", "B", tumor(0.2, 0.4), table="own/t", stages=stages),
        write_row("2", "C", tumor(0.2, 0.4), table="own/t", stages={"fine": stage(None, None)}),
    ]
    what, points = costs_of(methods_of(paths, tmp_path), ["tumor"])

    assert what == PER_PASS
    assert [(point.name, point.color, point.flops) for point in points["tumor"]] == [("A", 0, 3e9), ("B", 1, 3e9)]


def cost(name, color, flops, parameters, mean, *seeds):
    return Cost(name, color, flops, parameters, Interval(mean, mean - 0.1, mean + 0.1, 9, 0), list(seeds))


def test_points_lie_where_their_costs_and_scores_are():
    points = [cost("A", 0, 1e9, 1e6, 0.4, 0.3, 0.5), cost("B", 1, 1e10, 4e6, 0.6), cost("C", 2, 1e11, 2e6, 0.8)]
    picture = ET.fromstring(cost_plot(points, PER_CASE, "Tumor: mean Dice"))
    groups = {group.get("data-run"): group for group in picture.findall("g")}
    dots = {name: group.find("circle[@class='dot']") for name, group in groups.items()}

    x = [float(dots[name].get("cx")) for name in "ABC"]
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.02)  # factors of ten
    ticks = [text for text in picture.iter("text") if text.get("text-anchor") == "end"]
    slope, zero = np.polyfit([float(tick.text) for tick in ticks], [float(tick.get("y")) - 4 for tick in ticks], 1)
    y = [float(dots[name].get("cy")) for name in "ABC"]
    assert y == pytest.approx([zero + slope * dice for dice in (0.4, 0.6, 0.8)], abs=0.02)
    interval = groups["A"].find("line[@class='interval']")
    ends = [float(interval.get(end)) for end in ("y1", "y2")]
    assert ends == pytest.approx([zero + slope * 0.3, zero + slope * 0.5], abs=0.02)
    assert [dot.get("data-value") for dot in groups["A"].findall("circle[@class='dot marked']")] == ["0.3", "0.5"]
    areas = [float(dots[name].get("r")) ** 2 * np.pi for name in "ABC"]
    assert areas == pytest.approx([65, 200, 110], rel=0.01)  # 20 and 180 times the share of the most parameters
    assert dots["B"].findtext("title") == "B: 0.600 [0.500, 0.700], 10.0 GFLOPs, 4.00 M parameters"
    assert "FLOPs of a case (GFLOPs)" in [text.text for text in picture.iter("text")]


def test_the_axis_says_that_equal_costs_stand_side_by_side():
    picture = ET.fromstring(cost_plot([cost("A", 0, 1e9, 1e6, 0.4), cost("B", 1, 1e9, 1e6, 0.4)], PER_PASS, "Dice"))
    dots = [dot.get("cx") for dot in picture.iter("circle")]

    assert float(dots[1]) - float(dots[0]) == pytest.approx(11, abs=0.02)
    titles = [text.text for text in picture.iter("text") if text.get("class") == "axis"]
    assert titles == ["FLOPs of one forward pass (GFLOPs; equal ones side by side)", "Dice"]


def test_points_that_would_cover_each_other_are_moved_apart_around_their_middle():
    moved = side_by_side([50.0, 200.0, 52.0, 51.0])

    assert moved == [40.0, 200.0, 62.0, 51.0]
    many = side_by_side([100.0] * 20)
    assert max(many) - min(many) < 110
    assert len(set(many)) == 20
