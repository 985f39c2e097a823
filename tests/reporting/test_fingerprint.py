import numpy as np
import pytest

from kidney_lab.data.fingerprint import Fingerprint
from kidney_lab.errors import InputError
from kidney_lab.reporting.fingerprint import PublishedStatistics, published_section, statistics_section
from kidney_lab.reporting.sections import section_markdown

FOUND = Fingerprint(("a", "b"), np.array([[1.0, 0.75, 0.75], [3.0, 0.8, 0.8]]), np.array([[10, 20, 20], [30, 20, 40]]))


def test_every_statistic_is_a_row_with_its_unit():
    section = statistics_section(FOUND.statistics(), dataset="kits19", n_cases=2)
    lines = section_markdown(section)

    assert "Over 2 cases of kits19, from the files' headers." in lines
    assert "| Statistic | D (z) | H (y) | W (x) |" in lines
    assert "| spacing (mm), mean | 2.000 | 0.775 | 0.775 |" in lines
    assert "| shape (voxels), median | 20.0 | 20.0 | 30.0 |" in lines
    assert "| extent (mm), max | 90.0 | 16.0 | 32.0 |" in lines
    assert len(section.rows) == 18


def test_the_paper_s_values_stand_beside_ours_with_the_difference():
    published = PublishedStatistics("A. Author", 210, {"spacing": {"mean": [2.1, 0.78, 0.77], "max": [3, 0.8, 0.8]}})
    section = published_section(FOUND.statistics(), published, n_cases=2)

    assert [row.cells for row in section.rows] == [
        ["mean", "2.00 (2.10, -0.10)", "0.78 (0.78, +0.00)", "0.78 (0.77, +0.01)"],
        ["max", "3.00 (3.00, +0.00)", "0.80 (0.80, +0.00)", "0.80 (0.80, +0.00)"],
    ]
    assert "It describes 210 cases; 2 are here." in section.caption
    assert "spacing in mm. Equal in 2 decimals: 4 of 6." in section.caption


def test_several_quantities_of_a_paper_are_told_apart():
    published = PublishedStatistics(
        "A. Author", 2, {"spacing": {"min": [1, 0.75, 0.75]}, "shape": {"min": [10, 20, 20]}}
    )
    section = published_section(FOUND.statistics(), published, n_cases=2)

    assert [row.cells[0] for row in section.rows] == ["spacing, min", "shape, min"]
    assert "spacing in mm, shape in voxels." in section.caption


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"spacings": {}}, "published.values.spacings is unknown: choose out of spacing, shape, extent"),
        ({"spacing": {"mode": [1, 1, 1]}}, r"published.values.spacing.mode=\[1, 1, 1\] is no statistic"),
        ({"spacing": {"mean": [1, 1]}}, "give three numbers"),
    ],
)
def test_what_is_no_statistic_is_refused(values, sentence):
    with pytest.raises(InputError, match=sentence):
        PublishedStatistics("", 1, values)
