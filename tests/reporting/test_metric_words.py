import pytest

from kidney_lab.reporting.metric_words import metric_name, metric_title


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("dice", "Dice ↑"),
        ("hd95", "Hausdorff distance, 95th percentile (mm) ↓"),
        ("rvd", "Relative volume difference →0"),
        ("lesion_count", None),
        ("my_score", "My score"),
    ],
)
def test_titles_carry_unit_and_direction(name, title):
    shown = metric_title(name)

    assert shown == title if title else shown[-1] not in "↑↓0"


@pytest.mark.parametrize(("name", "title"), [("dice", "Dice"), ("assd", "Average symmetric surface distance (mm)")])
def test_names_carry_the_unit_alone(name, title):
    assert metric_name(name) == title


def test_a_mean_over_slices_has_the_metric_s_direction():
    assert metric_title("dice_per_slice").startswith("Dice")
    assert metric_title("dice_per_slice").endswith("↑")
