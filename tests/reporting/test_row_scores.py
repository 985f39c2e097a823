import json
import math
import statistics

import pytest

from kidney_lab.metrics import metrics_frame
from kidney_lab.metrics.strata import strata_frame, write_strata
from kidney_lab.reporting.measured import measured_rows
from kidney_lab.reporting.row_scores import case_values, row_scores, spread_of_runs
from kidney_lab.reporting.runs import read_runs
from tests.reporting.published_tables import published_sections

SMALL = {"c1": True, "c2": True, "c3": False, "c4": None}


@pytest.fixture
def rows(write_row):
    """Writes runs of a table: each a row, the tumor's Dice by case, and further keywords."""

    def make(*runs):
        paths = []
        for number, (row, values, record) in enumerate(runs):
            scores = {case: {("tumor", "dice"): value} for case, value in zip(SMALL, values, strict=True)}
            paths.append(write_row(str(number), row, scores, table="p/t", seed=number, **record))
            write_strata(strata_frame({case: {"under_10_mm": kind} for case, kind in SMALL.items()}), paths[-1])
        return read_runs(paths)[0]

    return make


def test_a_gain_within_a_stratum_is_over_the_named_row_with_seeds_averaged_first(rows):
    runs = rows(
        ("V-Net", [0.2, 0.4, 0.9, 1.0], {}),
        ("V-Net", [0.4, 0.4, 0.9, 1.0], {}),
        ("V-Net with fusion", [0.5, 0.5, 0.1, 1.0], {}),
    )
    (table,) = measured_rows(runs).values()
    key = ("tumor", "dice_gain_under_10_mm", "case")

    found = row_scores(table[1], [key], table)[key]

    # c1: 0.5 - 0.3, c2: 0.5 - 0.4; c3 is larger, and c4 has no tumor.
    assert (found.mean, found.n) == (pytest.approx(0.15), 2)
    assert row_scores(table[0], [key], table) == {}


def test_a_gain_of_a_row_stands_at_the_row_that_it_is_over_and_not_across_settings(rows):
    key = ("tumor", "dice_gain_of_improved_v_net", "case")
    plain, small = {"overrides": ["model=vnet"]}, {"overrides": ["model=vnet", "preset=small"]}
    runs = rows(
        ("V-Net", [0.2, 0.4, 0.6, 0.8], plain),
        ("V-Net", [0.1, 0.1, 0.1, 0.1], small),
        ("Improved V-Net", [0.3, 0.4, 0.8, 0.9], {"overrides": ["model=attention_vnet"]}),
    )
    (table,) = measured_rows(runs).values()

    assert [row_scores(row, [key], table).get(key) is not None for row in table] == [True, False, False]
    assert row_scores(table[0], [key], table)[key].mean == pytest.approx(0.1)


def test_gains_stand_in_the_table_where_the_paper_prints_them_and_are_explained(rows, tmp_path):
    entry = {"table": "t", "row": "V-Net", "dataset": "kits19", "region": "tumor", "level": "case", "value": 0.067}
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "published.json").write_text(json.dumps([{**entry, "metric": "dice_gain_of_improved_v_net"}]))
    runs = rows(*((row, [value] * 4, {}) for row, value in {"V-Net": 0.5, "Improved V-Net": 0.6, "extra": 0.1}.items()))

    (section,) = published_sections(runs, tmp_path)

    assert [row.cells[0] for row in section.rows] == ["V-Net"]
    assert section.rows[0].cells[2:] == [
        *("Dice, by how much that of Improved V-Net is larger", "0.100", "1", "4", "0.0670", "+0.033", "0.100"),
    ]
    assert "A gain is the difference of two rows, of scores case by case" in section.caption
    assert "machine" not in section.caption


def test_costs_are_averaged_over_runs_and_have_no_cases(rows):
    parameters = {"segmentation": {"parameters": 31_200_000}}
    record = {"stages": parameters, "overrides": []}
    runs = rows(*(("V-Net", [0.5] * 4, {**record, "cost_per_case": {"seconds": s}}) for s in (1.0, 2.0)))
    (table,) = measured_rows(runs).values()
    keys = [(None, "parameters_in_millions", None), (None, "seconds_per_case", None), (None, "leaderboard_rank", None)]

    found = row_scores(table[0], keys, table)

    assert {key[1]: (interval.mean, interval.n) for key, interval in found.items()} == {
        "parameters_in_millions": (31.2, 0),
        "seconds_per_case": (1.5, 0),
    }


def test_a_network_s_gain_is_the_difference_of_two_networks(rows):
    def network(row, parameters):
        return row, [0.5] * 4, {"stages": {"a": {"parameters": parameters}}, "overrides": []}

    runs = rows(network("without fusion", 28_100_000), network("Improved V-Net", 28_402_000))
    (table,) = measured_rows(runs).values()
    key = (None, "parameters_in_millions_gain_of_improved_v_net", None)

    found = row_scores(table[0], [key], table)[key]

    assert (found.mean, found.n) == (pytest.approx(0.302), 0)


def test_a_score_of_no_region_is_the_mean_over_the_regions_whose_dice_the_table_has():
    frame = metrics_frame(
        {"a": {(r, "jaccard"): v for r, v in {"kidney_and_mass": 0.9, "tumor": 0.5, "mass": 0.0}.items()}}
    )
    keys = [("kidney_and_mass", "dice", "case"), ("tumor", "dice", "case"), (None, "jaccard", "case")]

    assert case_values(frame, keys[2], keys).tolist() == [pytest.approx(0.7)]
    assert case_values(frame, keys[2], keys[2:]).empty


def test_the_spread_of_runs_is_the_standard_deviation_of_their_own_means(rows):
    key, nan = ("tumor", "dice", "case"), float("nan")
    runs = rows(
        ("A", [0.2, 0.4, 0.6, 0.8], {}),
        ("A", [0.4, 0.6, 0.8, nan], {}),
        ("A", [0.9, 0.9, 0.9, 0.9], {}),
        ("B", [0.9, 0.9, 0.9, 0.9], {}),
    )
    (table,) = measured_rows(runs).values()

    assert spread_of_runs(table[0], key, [key]) == pytest.approx(statistics.stdev([0.5, 0.6, 0.9]))
    assert math.isnan(spread_of_runs(table[1], key, [key]))
    parameters = (None, "parameters_in_millions", None)
    assert spread_of_runs(table[0], parameters, [parameters]) == pytest.approx(0, abs=1e-12)


def test_the_spread_of_a_pooled_score_is_over_the_runs_pooled_scores(write_row):
    counts = ("true_positives", "false_positives", "false_negatives", "true_negatives")
    paths = [
        write_row(
            f"{k}",
            "A",
            {c: {("tumor", n): v for n, v in zip(counts, of, strict=True)} for c, of in by.items()},
            table="p/t",
            seed=k,
        )
        for k, by in enumerate([{"c1": (1, 1, 0, 8), "c2": (3, 0, 2, 5)}, {"c1": (2, 0, 0, 8), "c2": (4, 0, 0, 6)}])
    ]
    (table,) = measured_rows(read_runs(paths)[0]).values()
    key = ("tumor", "dice", "pooled")

    # 2 * 4 / (2 * 4 + 1 + 2) = 8 / 11, and 1
    assert spread_of_runs(table[0], key, [key]) == pytest.approx(statistics.stdev([8 / 11, 1]))
