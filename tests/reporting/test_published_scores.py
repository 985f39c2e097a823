from decimal import ROUND_HALF_UP, Decimal

import pytest

from kidney_lab.composition.search_path import config_folder
from kidney_lab.errors import InputError
from kidney_lab.reporting.published_scores import PublishedScore, read_published

EXPERIMENTS = config_folder().parent / "experiments"
THESIS = EXPERIMENTS / "cascade_unet" / "published.json"
ERNET = EXPERIMENTS / "ernet" / "published.json"

# Table 4.2 as printed: kidney, tumor and mean Dice in percent, rank on the leaderboard.
TABLE_4_2 = {
    "nnU-Net": ("97.95", "85.54", "91.75", 7),
    "Isensee et al. (1st 2019)": ("97.37", "85.09", "91.23", 64),
    "Hou et al. (2nd 2019)": ("96.74", "84.54", "90.64", 106),
    "Vanilla 3D U-Net": ("97.02", "81.76", "89.39", 289),
    "PM": ("97.94", "85.24", "91.59", 23),
    "PM without Res": ("97.54", "84.63", "91.09", 73),
    "PM without Res and DS": ("97.39", "84.39", "90.89", 86),
}


@pytest.mark.parametrize("content", ["{", '[{"row": "PM"}]', '["PM"]'])
def test_a_damaged_file_is_named(content, tmp_path):
    (tmp_path / "published.json").write_text(content)

    with pytest.raises(InputError, match=r"published\.json is no list of numbers with table, row, dataset, region"):
        read_published(tmp_path / "published.json")


def test_the_thesis_numbers_are_those_that_it_prints():
    scores = {(score.row, score.region, score.metric): score for score in read_published(THESIS)}

    expected = {}
    for row, (kidney, tumor, mean, rank) in TABLE_4_2.items():
        expected[row, "kidney_and_mass", "dice"] = round(float(kidney) / 100, 4)
        expected[row, "tumor", "dice"] = round(float(tumor) / 100, 4)
        expected[row, None, "mean_dice"] = round(float(mean) / 100, 4)
        expected[row, None, "leaderboard_rank"] = rank
    assert {key: score.value for key, score in scores.items()} == expected
    assert {(score.table, score.dataset) for score in scores.values()} == {("table4_2", "kits19")}
    assert {score.level for score in scores.values() if score.metric != "leaderboard_rank"} == {"case"}


@pytest.mark.parametrize("row", TABLE_4_2)
def test_the_thesis_means_are_those_of_its_two_regions(row):
    value = {
        s.metric if s.region is None else s.region: Decimal(str(s.value))
        for s in read_published(THESIS)
        if s.row == row
    }

    mean = ((value["kidney_and_mass"] + value["tumor"]) / 2).quantize(Decimal("0.0001"), ROUND_HALF_UP)
    assert mean == value["mean_dice"]


def test_a_score_is_known_by_region_metric_and_level():
    assert PublishedScore("t", "PM", "kits19", "tumor", "dice", "slice", 0.5).key == ("tumor", "dice", "slice")


def test_without_a_file_nothing_is_published(tmp_path):
    assert read_published(tmp_path / "published.json") == []


ERNET_METRICS = ("dice", "specificity", "sensitivity", "rvd", "assd")
ERNET_COLUMNS = [(data, name) for data in ("kits19", "kits21") for name in ERNET_METRICS]
# Lines of ERNet's Table 1, read off the paper: Dice, specificity, sensitivity, RVD, ASD on KiTS19, then on KiTS21.
ERNET_LINES = {
    ("AE-CNN", "kidney_and_mass"): "0.901 0.992 0.853 0.348 1.469 0.804 0.996 0.605 0.401 4.078",
    ("TSS", "kidney_and_mass"): "0.967 0.993 0.894 0.127 1.316 0.922 0.997 0.889 0.182 1.424",
    ("ERNet", "kidney_and_mass"): "0.964 0.993 0.896 0.126 1.144 0.936 0.993 0.880 0.130 1.333",
    ("DPC", "tumor"): "0.730 0.970 0.667 -0.202 3.594 0.727 0.971 0.917 -0.207 3.810",
    ("ERNet", "tumor"): "0.863 0.988 0.892 -0.016 1.173 0.855 0.974 0.867 -0.021 1.192",
}


@pytest.mark.parametrize(("row", "region"), ERNET_LINES)
def test_ernets_numbers_are_those_that_it_prints(row, region):
    printed = [float(number) for number in ERNET_LINES[row, region].split()]

    found = {
        (s.dataset, s.metric): s.value
        for s in read_published(ERNET)
        if (s.table, s.row, s.region, s.level) == ("table1", row, region, "case")
    }
    assert found == dict(zip(ERNET_COLUMNS, printed, strict=True))


def test_ernets_tables_are_whole():
    scores = read_published(ERNET)
    rows = {table: list(dict.fromkeys(s.row for s in scores if s.table == table)) for table in ("table1", "table2")}

    assert rows["table1"] == ["AE-CNN", "At-UNet", "DPC", "Ens-UNet", "PCM", "RBCA", "RWL", "Stack Net", "TSS", "ERNet"]
    assert rows["table2"] == ["Mask RCNN", "ERNet"]
    assert len({(s.table, s.row, s.dataset, s.key) for s in scores}) == len(scores) == 10 * 2 * (2 * 5 + 1) + 2 * 4 + 10
    # An ablation repeats the method's row of Table 1, on KiTS19.
    of_table1, of_table3 = (
        {s.key: s.value for s in scores if (s.table, s.row, s.dataset, s.metric) == (table, row, "kits19", "dice")}
        for table, row in (("table1", "ERNet"), ("table3", "Heat Map (ERNet)"))
    )
    assert of_table1 == of_table3
    assert {s.dataset for s in scores if s.table == "table2"} == {None}  # which it does not say
    assert {s.value for s in scores if s.metric == "gflops"} == {
        51.6,
        66.3,
        54.2,
        39.3,
        57.2,
        38.7,
        54.1,
        47.3,
        35.5,
        79.1,
    }
