import json

import pytest

from kidney_lab.reporting.row_groups import compared_keys, row_groups
from kidney_lab.reporting.runs import read_runs

SCORES = {"c1": {("kidney_and_mass", "dice"): 0.9, ("tumor", "dice"): 0.5}}
PHANTOM = {"name": "phantom", "synthesized": True, "split_hash": "p"}


@pytest.fixture
def experiments(tmp_path):
    """A paper whose first table has rows B and A, with one score of cases and one that is none."""
    entries = [
        {"table": "t", "row": row, "dataset": "kits19", "region": region, "metric": metric, "level": level, "value": 1}
        for row in "BA"
        for region, metric, level in [("tumor", "dice", "case"), (None, "leaderboard_rank", None)]
    ]
    (tmp_path / "papers" / "p").mkdir(parents=True)
    (tmp_path / "papers" / "p" / "published.json").write_text(json.dumps(entries))
    return tmp_path / "papers"


def test_rows_are_in_the_paper_s_order_and_those_that_it_lacks_come_last(write_row, experiments):
    names = ["extra", "A", "B", "A"]
    runs, _ = read_runs([write_row(str(k), name, SCORES, table="p/t", seed=k) for k, name in enumerate(names)])
    (group,) = row_groups(runs, experiments)

    assert [(row.row, len(row.runs)) for row in group.rows] == [("B", 1), ("A", 2), ("extra", 1)]
    assert (group.table, group.data, group.id, len(group.runs)) == ("p/t", "kits19", "p-t-kits19", 4)
    assert group.keys == [("tumor", "dice", "case")]
    assert not group.synthesized


def test_rows_on_other_data_or_another_split_are_a_group_apart(write_row, experiments):
    other = {"name": "kits19", "synthesized": False, "split_hash": "b"}
    paths = [
        write_row("0", "A", SCORES, table="p/t"),
        write_row("1", "A", SCORES, table="p/t", data=PHANTOM),
        write_row("2", "A", SCORES, table="p/t", data=other),
        write_row("3", "A", {}, table="p/t"),
    ]
    groups = row_groups(read_runs(paths)[0], experiments)

    assert [(group.data, group.id, group.synthesized) for group in groups] == [
        ("kits19, split a", "p-t-kits19-split-a", False),
        ("phantom", "p-t-phantom", True),
        ("kits19, split b", "p-t-kits19-split-b", False),
    ]


def test_a_table_without_a_paper_has_dice_of_every_region(write_row, make_run, experiments):
    runs, _ = read_runs([write_row("0", "A", SCORES, table="own/t"), make_run("none")])
    (group,) = row_groups(runs, experiments)

    assert group.keys == [("kidney_and_mass", "dice", "case"), ("tumor", "dice", "case")]


def test_a_table_of_small_tumors_alone_is_compared_by_dice_and_jaccard_of_all_cases_too():
    keys = [("tumor", name, "case") for name in ("dice_gain_under_2_cm", "dice_under_2_cm", "missed_small_tumors")]

    assert [metric for _, metric, _ in compared_keys(keys)] == [
        *("dice", "jaccard"),
        *("dice_under_2_cm", "missed_small_tumors"),  # a difference of gains would be one of Dice
    ]
    assert compared_keys([*keys[:1], ("tumor", "hd", "case")]) == [
        ("tumor", "dice_under_2_cm", "case"),
        ("tumor", "hd", "case"),
    ]
    assert compared_keys([(None, "parameters_in_millions", None)]) == []
