from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from kidney_lab.reporting.strips import add_strip, violin_outline
from kidney_lab.reporting.svg import Span


def test_the_density_is_the_sum_of_gaussians_of_scott_s_width():
    values = np.array([0.1, 0.4, 0.5, 0.55, 0.9])
    positions, density = violin_outline(values)

    width = values.std(ddof=1) * 5**-0.2
    expected = np.exp(-(((positions[:, None] - values) / width) ** 2) / 2).sum(axis=1)
    assert density == pytest.approx(expected / expected.max())
    assert (positions[0], positions[-1]) == (0.1, 0.9)  # cut at the extreme values


@pytest.mark.parametrize("values", [[], [0.5], [0.1, 0.2, 0.3, 0.4], [0.7] * 9, [0.0] * 5, [0.3] * 8 + [0.1 + 0.2]])
def test_few_or_equal_values_have_no_outline(values):
    assert violin_outline(values) is None


def test_nearly_equal_values_have_one():
    _, density = violin_outline([0.5, 0.5, 0.5, 0.5, 0.5 + 1e-9])

    assert np.isfinite(density).all()


def test_the_violin_is_symmetric_about_the_strip_and_fills_it_where_values_are_densest():
    group = ET.Element("g")
    values = pd.Series([0.2, 0.4, 0.5, 0.6, 0.8], index=list("abcde"))
    add_strip(group, values, x=Span(0, 1, 0, 100), y=50.0, height=20.0, name="Baseline")

    outline = group.find("polygon[@class='violin']").get("points")
    corners = np.array([[float(part) for part in point.split(",")] for point in outline.split()])
    above, below = corners[:48], corners[48:][::-1]
    assert above[:, 0] == pytest.approx(below[:, 0])
    assert above[:, 1] + below[:, 1] == pytest.approx(np.full(48, 100.0))
    assert above[:, 1].min() == pytest.approx(50 - 0.47 * 20, abs=0.05)
    assert above[above[:, 1].argmin(), 0] == pytest.approx(50, abs=2)  # densest in the middle
    assert corners[:, 0].min() == 20  # the smallest value, where the violin ends
    assert corners[:, 0].max() == 80


def test_every_dot_names_its_case_and_the_diamond_the_mean():
    group = ET.Element("g")
    add_strip(group, pd.Series({"a": 0.2, "b": 0.7}), x=Span(0, 1, 0, 100), y=50.0, height=20.0, name="Baseline")

    dots = [(dot.get("data-case"), dot.get("data-value"), dot.get("cx")) for dot in group.iter("circle")]
    assert dots == [("a", "0.2", "20.0"), ("b", "0.7", "70.0")]
    assert group.find("circle/title").text == "Baseline, a: 0.200"
    mean = group.find("polygon[@class='mean hint']")
    assert mean.get("points") == "45.0,45.0 50.0,50.0 45.0,55.0 40.0,50.0"
    assert mean.findtext("title") == "Baseline: mean 0.450, median 0.450, 2 cases"
