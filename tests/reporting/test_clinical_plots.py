import numpy as np
import pandas as pd
import pytest

from kidney_lab.data.clinical.analysis import class_balance
from kidney_lab.reporting.clinical_plots import draw_balance, draw_boxes, draw_distribution, png


def test_a_distribution_is_drawn_with_the_normal_one_that_fits():
    values = pd.Series(np.exp(np.random.default_rng(0).normal(3, 1, 100)))
    axes = draw_distribution(values, "Size (ml)").axes

    assert len(axes) == 4
    density = axes[0].lines[0]
    assert density.get_ydata().max() == pytest.approx(1 / (values.std() * np.sqrt(2 * np.pi)), rel=1e-3)
    theory, ordered = axes[3].lines[1].get_data()
    assert np.allclose(ordered, np.sort(np.log(values)))
    assert np.all(np.diff(theory) > 0)


@pytest.mark.parametrize("values", [[], [1.0, 2.0], [3.0] * 9, [None, 1.0, 2.0, 0.0]])
def test_what_has_no_distribution_is_not_drawn(values):
    assert draw_distribution(pd.Series(values, dtype="Float64"), "Size") is None


def test_boxes_name_the_cases_beyond_the_whiskers():
    table = pd.DataFrame(
        {"size": pd.array([1, 2, 3, 4, 100], dtype="Int64"), "empty": pd.array([None] * 5, dtype="Float64")},
        index=[f"case_{n:05d}" for n in range(5)],
    )
    figure = draw_boxes(table, {"size": "Size (cm)", "empty": "Empty", "absent": "Absent"})

    assert [axes.get_title() for axes in figure.axes] == ["Size (cm)"]
    assert [text.get_text() for text in figure.axes[0].texts] == ["00004"]
    assert draw_boxes(table, {"empty": "Empty"}) is None


def test_bars_carry_counts_and_shares():
    balance = class_balance(pd.Series(pd.Categorical(["a", "b", "b", "b"])))
    figure = draw_balance(balance, "Letters")

    assert [text.get_text() for text in figure.axes[0].texts] == [" 1 (25.0%)", " 3 (75.0%)"]


def test_a_figure_always_gives_the_same_picture():
    balance = class_balance(pd.Series(pd.Categorical(["a", "b"])))
    first, second = (png(draw_balance(balance, "Letters")) for _ in range(2))

    assert first == second
    assert first.startswith(b"\x89PNG")
