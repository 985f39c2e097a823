import pytest

from kidney_lab.reporting import formatting
from kidney_lab.reporting.statistics import Interval

NAN = float("nan")


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (formatting.decimal(0.91249), "0.912"),
        (formatting.decimal(NAN), "—"),
        (formatting.decimal(None), "—"),
        (formatting.mean_with_interval(Interval(0.9, 0.88, 0.9351, 12, 0)), "0.900 [0.880, 0.935]"),
        (formatting.mean_with_interval(Interval(0.9, NAN, NAN, 1, 0)), "0.900"),
        (formatting.mean_with_interval(Interval(NAN, NAN, NAN, 0, 3)), "—"),
        (formatting.signed_with_interval(Interval(0.0124, -0.0031, 0.03, 12, 0)), "+0.012 [-0.003, +0.030]"),
        (formatting.signed_with_interval(Interval(-0.1, NAN, NAN, 1, 0)), "-0.100"),
        (formatting.signed_with_interval(Interval(NAN, NAN, NAN, 0, 3)), "—"),
        (formatting.p_value(0.0312), "0.031"),
        (formatting.p_value(0.0), "<0.001"),
        (formatting.p_value(NAN), "—"),
        (formatting.duration(3.42), "3.4 s"),
        (formatting.duration(250), "4 min 10 s"),
        (formatting.duration(7500), "2 h 05 min"),
        (formatting.duration(200_000), "2 d 7 h"),
        (formatting.duration(None), "—"),
        (formatting.count(950), "950"),
        (formatting.count(1_234_567), "1.23 M"),
        (formatting.count(4.21e11, "FLOPs"), "421 GFLOPs"),
        (formatting.mebibytes(512.3), "512 MiB"),
        (formatting.mebibytes(4096), "4.0 GiB"),
        (formatting.words("kidney_and_mass"), "Kidney and mass"),
        (formatting.words("surface_dice"), "Surface Dice"),
        (formatting.instant("2025-11-21T12:00:09+00:00"), "2025-11-21 12:00 UTC"),
        (formatting.text(0), "0"),
        (formatting.text(None), "—"),
    ],
)
def test_numbers_read_well_and_missing_ones_are_a_dash(shown: str, expected: str):
    assert shown == expected
