from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from kidney_lab.reporting.diameter_plot import diameter_plot, running_median, window_of, with_diameters


def cases(sizes, values):
    return pd.DataFrame({"diameter_mm": sizes, "value": values}, index=[f"c{k}" for k in range(len(sizes))])


def test_the_running_median_is_over_the_nearest_cases_by_size():
    found = running_median(cases([60, 10, 20, 30, 40, 50, 70], [0.9, 0.1, 0.5, 0.2, 0.8, 0.3, 0.7]))

    # in order of size 0.1 0.5 0.2 0.8 0.3 0.9 0.7, five at a time and three or four at the ends
    assert found["diameter_mm"].tolist() == [10, 20, 30, 40, 50, 60, 70]
    assert found["value"].tolist() == pytest.approx([0.2, 0.35, 0.3, 0.5, 0.7, 0.75, 0.7])


def test_the_median_of_many_cases_is_that_of_numpy():
    values = np.random.default_rng(0).random(40)
    found = running_median(cases(np.arange(1, 41), values))

    half = window_of(40) // 2
    assert window_of(40) == 11
    expected = [np.median(values[max(0, k - half) : k + half + 1]) for k in range(40)]
    assert found["value"].tolist() == pytest.approx(expected)


def test_few_cases_have_no_running_median():
    assert running_median(cases([10, 20, 30, 40], [0.1, 0.2, 0.3, 0.4])).empty


def test_scores_stand_beside_the_size_where_both_are_defined():
    strata = pd.DataFrame({"case": ["a", "b", "c"], "tumor_diameter_mm": [12.0, np.nan, 40.0]})
    scores = pd.Series({"a": 0.5, "b": 0.9, "c": np.nan, "d": 0.7})

    found = with_diameters(scores, strata)
    assert found.to_dict("index") == {"a": {"diameter_mm": 12.0, "value": 0.5}}
    assert with_diameters(scores, None).empty


def test_dots_lie_on_a_logarithmic_axis_in_mm_with_the_limits_of_the_stages():
    picture = ET.fromstring(diameter_plot({"A": cases([10, 40, 160], [0.0, 0.5, 1.0])}, "Dice of the tumor"))
    dots = {dot.get("data-case"): (float(dot.get("cx")), float(dot.get("cy"))) for dot in picture.iter("circle")}

    assert dots["c1"][0] - dots["c0"][0] == pytest.approx(dots["c2"][0] - dots["c1"][0], abs=0.03)  # factors of four
    assert dots["c0"][1] - dots["c1"][1] == pytest.approx(dots["c1"][1] - dots["c2"][1], abs=0.03)
    limits = [float(line.get("x1")) for line in picture.iter("line") if line.get("class") == "limit"]
    assert limits[0] == dots["c1"][0]  # 40 mm
    assert len(limits) == 2
    texts = [text.text for text in picture.iter("text")]
    assert {"T1a", "T1b", "T2", "20", "70", "Largest axial tumor diameter (mm)", "Dice of the tumor"} <= set(texts)
    assert picture.find("g/circle/title").text == "A, c0, 10 mm: 0.000"


def test_stages_outside_the_axis_are_not_named():
    picture = ET.fromstring(diameter_plot({"A": cases([12, 20, 30], [0.0, 0.5, 1.0])}, "Dice"))
    texts = [text.text for text in picture.iter("text")]

    assert "T1a" in texts
    assert not {"T1b", "T2"} & set(texts)
    assert not [line for line in picture.iter("line") if line.get("class") == "limit"]
