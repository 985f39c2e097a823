import pytest

from kidney_lab.reporting.svg import Span, log_span_of, picture, ticks_of


def test_equal_factors_are_equal_distances_on_a_logarithmic_axis():
    axis = Span(10, 1000, 0, 200, log=True)

    assert [axis(value) for value in (10, 100, 1000, 20)] == [0, 100, 200, pytest.approx(30.1)]  # 100 * log10(2)


def test_a_logarithmic_axis_covers_its_positive_values():
    axis = log_span_of([0.0, 20.0, float("nan"), 110.0], 0, 100)

    assert (axis.low, axis.high) == pytest.approx((20 / 1.1, 121))


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (18, 121, [20, 30, 40, 50, 70, 100]),
        (1, 300, [1, 2, 5, 10, 20, 50, 100, 200]),
        (1, 1e6, [10**power for power in range(7)]),
        (66, 80, [66, 69, 72, 75, 78]),  # no 1, 2 or 5 of a power of ten lies there
    ],
)
def test_ticks_are_round_and_few_however_long_the_axis_is(low, high, ticks):
    assert ticks_of(Span(low, high, 0, 1, log=True)) == ticks


def test_a_picture_of_a_column_s_width_says_so():
    assert [picture(width, 10, "").get("class") for width in (376, 560)] == ["plot narrow", "plot"]
