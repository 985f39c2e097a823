import json

import pytest

from kidney_lab.reporting.human import HumanAgreement
from kidney_lab.reporting.paper_rows import paper_tables
from kidney_lab.reporting.paper_table import paper_section
from kidney_lab.reporting.runs import read_run


@pytest.fixture
def make_table(write_row, tmp_path):
    """The one table of some runs, `{row: {case: Dice of the tumor}}`, with numbers of a paper, `{row: value}`."""

    def make(runs, published):
        entry = {"table": "t", "dataset": "kits19", "region": "tumor", "metric": "dice", "level": "case"}
        (tmp_path / "papers" / "p").mkdir(parents=True)
        file = tmp_path / "papers" / "p" / "published.json"
        file.write_text(json.dumps([{**entry, "row": row, "value": value} for row, value in published.items()]))
        paths = [
            write_row(row, row, {case: {("tumor", "dice"): value} for case, value in dice.items()}, table="p/t")
            for row, dice in runs.items()
        ]
        (table,) = paper_tables([read_run(path) for path in paths], tmp_path / "papers")
        return table

    return make


def test_a_line_for_each_method_holds_what_was_measured_and_what_is_printed(make_table):
    runs = {"PM": {"c1": 0.6, "c2": 0.8}, "extra: no prior": {"c1": 0.5, "c2": 0.5}}
    section = paper_section(make_table(runs, {"nnU-Net": 0.85, "PM": 0.9}))

    assert list(section.header) == ["Row", "Runs", "Cases", "Tumor: Dice ↑", "Tumor: Dice ↑, published"]
    assert [list(row.cells) for row in section.rows] == [
        ["nnU-Net", "—", "—", "—", "0.8500"],
        ["PM", "1", "2", "0.700", "0.9000"],
        ["extra: no prior", "1", "2", "0.500", "—"],
    ]
    assert set(section.best) == {(1, 3)}
    assert (section.id, section.title) == ("paper-p-t-kits19", "As the paper has it: p/t on kits19")


def test_without_published_numbers_there_is_no_column_for_them(make_table):
    section = paper_section(make_table({"A": {"c1": 0.6}}, {}))

    assert list(section.header) == ["Row", "Runs", "Cases", "Tumor: Dice ↑"]
    assert (section.title, section.best) == ("In one table: p/t", frozenset())
    assert "paper" not in section.caption


def test_annotators_stand_below_and_are_no_candidate_for_the_best(make_table, agreement):
    table = make_table({"A": {"c1": 0.6}, "B": {"c1": 0.5}}, {"A": 0.7})
    section = paper_section(table, HumanAgreement.read(agreement))

    assert list(section.rows[-1].cells) == ["human agreement", "—", "2", "0.960", "—"]
    assert set(section.best) == {(0, 3)}
