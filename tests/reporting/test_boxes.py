from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from kidney_lab.reporting.boxes import box_plot


def values(*numbers):
    return pd.Series(dict(zip("abcdefgh", numbers, strict=False)))


def test_box_whiskers_and_outliers_lie_where_tukey_puts_them():
    # quartiles 0.4, 0.5 and 0.6: whiskers end within 0.4 - 0.3 and 0.6 + 0.3, so that 0.05 is a dot
    picture = ET.fromstring(box_plot({"A": values(0.4, 0.5, 0.6, 0.05, 0.85)}, "Tumor: Dice"))
    ticks = {tick.text: float(tick.get("x")) for tick in picture.iter("text") if tick.get("class") == "tick"}
    zero, one = ticks["0"], ticks["1"]

    def value_at(x):
        return (float(x) - zero) / (one - zero)

    (group,) = picture.findall("g")
    box = group.find("rect")
    assert value_at(box.get("x")) == pytest.approx(0.4, abs=1e-3)
    assert float(box.get("width")) / (one - zero) == pytest.approx(0.2, abs=1e-3)
    assert value_at(group.find("line[@class='median']").get("x1")) == pytest.approx(0.5, abs=1e-3)
    ends = [value_at(line.get("x1")) for line in group.findall("line[@class='whisker']")[2:]]
    assert ends == pytest.approx([0.4, 0.85], abs=1e-3)
    (dot,) = group.findall("circle")
    assert (dot.get("data-case"), value_at(dot.get("cx"))) == ("d", pytest.approx(0.05, abs=1e-3))
    assert group.find("polygon/title").text == "A: mean 0.480, median 0.500, 5 cases"


def test_undefined_values_are_left_out_and_an_empty_row_keeps_its_place():
    picture = ET.fromstring(box_plot({"A": values(np.nan, np.nan), "B": values(0.5, np.nan)}, "Tumor: Dice"))
    first, second = picture.findall("g")

    assert len(first) == 0
    assert second.find("polygon/title").text == "B: mean 0.500, median 0.500, 1 case"


def test_names_stand_left_of_the_axis_in_two_lines_at_most():
    long = "a row of the table whose name is far too long for the room that there is beside a plot"
    picture = ET.fromstring(box_plot({long: values(0.5), "B": values(0.6)}, "Tumor: Dice"))
    names = [text for text in picture.iter("text") if text.get("text-anchor") == "end"]

    assert len(names) == 3
    assert names[1].text.endswith("…")
    axis = min(float(line.get("x1")) for line in picture.iter("line") if line.get("class") == "grid")
    assert all(float(name.get("x")) < axis for name in names)
