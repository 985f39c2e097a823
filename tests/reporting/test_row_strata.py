import json

import pytest
from scipy.stats import ttest_rel

from kidney_lab.metrics.strata import strata_frame, write_strata
from kidney_lab.reporting.contents import Choices, collect
from kidney_lab.reporting.row_groups import row_groups
from kidney_lab.reporting.row_strata import row_strata_sections
from kidney_lab.reporting.runs import read_runs

SMALL = {"c1": True, "c2": True, "c3": True, "c4": False, "c5": False, "c6": None}
PHANTOM = {"name": "phantom", "synthesized": True, "split_hash": "p"}


@pytest.fixture
def write_runs(write_row):
    """Writes runs of rows of the table p/t: the tumor's Dice by case, and further keywords."""

    def make(*rows, strata=SMALL):
        paths = []
        for number, (row, values, record) in enumerate(rows):
            scores = {case: {("tumor", "dice"): value} for case, value in zip(SMALL, values, strict=True)}
            paths.append(write_row(str(number), row, scores, table="p/t", seed=number, **record))
            kinds = {case: {"under_10_cm3": kind, "size": None} for case, kind in strata.items()}
            write_strata(strata_frame(kinds), paths[-1])
        return paths

    return make


@pytest.fixture
def sections(write_runs, tmp_path):
    def make(*rows, by="under_10_cm3", **keywords):
        return row_strata_sections(row_groups(read_runs(write_runs(*rows, **keywords))[0], tmp_path)[0], by)

    return make


A = [0.1, 0.2, 0.3, 0.9, 0.8, 1.0]
B1 = [0.2, 0.3, 0.6, 0.9, 0.9, 1.0]
B2 = [0.4, 0.3, 0.6, 0.7, 0.9, 1.0]


def cells(section):
    return [list(row.cells) for row in section.rows]


def test_rows_stand_once_in_each_stratum_with_seeds_averaged_case_by_case(sections):
    scores, _ = sections(("A", A, {}), ("B", B1, {}), ("B", B2, {}))

    assert scores.title == "Tumor scores by tumor volume: p/t on kits19"
    assert scores.header == ("Stratum", "Row", "Cases", "Runs", "Dice ↑, mean [95% CI]")
    assert [row[:4] for row in cells(scores)] == [
        ["under 10 cm³", "A", "3", "1"],
        ["under 10 cm³", "B", "3", "2"],
        ["10 cm³ and more", "A", "2", "1"],
        ["10 cm³ and more", "B", "2", "2"],
        ["no tumor", "A", "1", "1"],
        ["no tumor", "B", "1", "2"],
    ]
    assert cells(scores)[1][4] == "0.400"  # the mean of 0.3, 0.3 and 0.6, those of the two seeds
    assert [row.kind for row in scores.rows] == ["", "", "group", "", "group", ""]


def test_rows_are_tested_within_each_stratum_and_corrected_over_all(sections):
    _, between = sections(("A", A, {}), ("B", B1, {}), ("B", B2, {}))

    assert between.title == "Between the rows by tumor volume: p/t on kits19"
    small, large = cells(between)  # of cases without a tumor there is no difference to be tested
    assert small[:3] == ["under 10 cm³", "B minus A", "Tumor: Dice ↑"]
    assert small[3] == "+0.200"
    assert small[4:6] == ["3 of 3", "2 and 1"]
    p = ttest_rel([0.3, 0.3, 0.6], [0.1, 0.2, 0.3]).pvalue
    assert small[7] == f"{p:.3f} ({2 * p:.3f})"
    assert large[0] == "10 cm³ and more"
    assert large[3] == "+0.000"
    assert "Holm over all 2 comparisons" in between.caption


def test_the_experiment_s_pairs_are_tested(sections):
    compare = {"C": "B"}
    _, between = sections(
        *((row, values, {"compare": compare}) for row, values in zip("ABC", (A, B1, B2), strict=True))
    )

    assert [row[1] for row in cells(between)] == ["C minus B"] * 2


def test_a_stratum_without_cases_is_said_to_be_empty(sections):
    large = dict.fromkeys(SMALL, False)
    scores, between = sections(("A", A, {}), ("B", B1, {}), strata=large)

    assert cells(scores)[0] == ["under 10 cm³", "", "0", "", "no case in this stratum"]
    assert [row[0] for row in cells(between)] == ["10 cm³ and more"]


def test_one_row_has_its_scores_alone(sections):
    (scores,) = sections(("B", B1, {}), ("B", B2, {}))

    assert cells(scores)[0][:3] == ["under 10 cm³", "B", "3"]


def test_made_up_images_are_said_to_be_so(sections):
    found = sections(("A", A, {"data": PHANTOM}), ("B", B1, {"data": PHANTOM}))

    made_up = "SYNTHESIZED: the images of phantom are made up, so that these {} say nothing about patients."
    assert [section.notes for section in found] == [[made_up.format("scores")], [made_up.format("differences")]]


def test_a_report_shows_rows_once_other_runs_by_themselves_and_keeps_every_run_s_strata(
    write_runs, make_scores, tmp_path
):
    paths = [*write_runs(("A", A, {}), ("B", B1, {}), ("B", B2, {})), make_scores("peer", sizes={})]
    kinds = {f"case_0000{k}": {"under_10_cm3": k == 1, "size": None} for k in range(1, 5)}
    write_strata(strata_frame(kinds), paths[-1])
    (tmp_path / "papers" / "p").mkdir(parents=True)
    (tmp_path / "papers" / "p" / "published.json").write_text(json.dumps([]))

    contents = collect(paths, Choices(by="under_10_cm3", experiments=tmp_path / "papers", mixed=True))

    ids = [section.id for section in contents.sections if "strata" in section.id]
    assert ids == ["strata-p-t-kits19", "between-strata-p-t-kits19", "strata"]
    single = next(section for section in contents.sections if section.id == "strata")
    assert {row.run for row in single.rows} == {contents.runs[-1].name}
    assert len({row.run for row in contents.strata}) == 4
