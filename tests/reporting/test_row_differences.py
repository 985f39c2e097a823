import json
from dataclasses import replace

import pytest
from scipy.stats import ttest_rel, wilcoxon

from kidney_lab.reporting.contents import Choices, collect
from kidney_lab.reporting.row_differences import between_section, choose_pairs, row_differences
from kidney_lab.reporting.row_groups import row_groups
from kidney_lab.reporting.runs import read_runs

CASES = ["c1", "c2", "c3", "c4", "c5"]
PHANTOM = {"name": "phantom", "synthesized": True, "split_hash": "p"}


@pytest.fixture
def group_of(write_row, tmp_path):
    """Makes the first group of runs of the table own/t: each a row, its tumor Dice by case, and further keywords."""

    def group(*rows, metrics=("dice",)):
        paths = []
        for number, (row, values, record) in enumerate(rows):
            scores = {
                case: {("tumor", name): value for name in metrics}
                for case, value in zip(record.pop("cases", CASES), values, strict=True)
            }
            paths.append(write_row(str(number), row, scores, table="own/t", seed=number, **record))
        (tmp_path / "papers" / "own").mkdir(parents=True)
        keys = [{"region": "tumor", "metric": name, "level": "case"} for name in metrics]
        entries = [{"table": "t", "row": "paper's", "dataset": "kits19", "value": 0.5, **key} for key in keys]
        (tmp_path / "papers" / "own" / "published.json").write_text(json.dumps(entries))
        return row_groups(read_runs(paths)[0], tmp_path / "papers")[0]

    return group


def cells(section):
    return [list(row.cells) for row in section.rows]


def test_seeds_are_averaged_case_by_case_before_rows_are_subtracted(group_of):
    nan = float("nan")
    group = group_of(
        ("B", [0.50, 0.40, 0.30, 0.20, nan], {}),
        ("A", [0.60, 0.50, 0.50, 0.60, 0.8], {}),
        ("A", [0.62, 0.58, nan, 0.52, 0.9], {}),
    )
    (difference,) = row_differences([(group.rows[1], group.rows[0])], group.keys)

    # A: 0.61, 0.54, undefined in its second run, 0.56; minus B: 0.11, 0.14, 0.36; c3 and c5 are no pairs.
    gap = difference.paired.difference
    assert (gap.mean, gap.n, gap.n_undefined) == (pytest.approx(0.61 / 3), 3, 2)
    assert difference.paired.wilcoxon_p == pytest.approx(2 / 2**3)  # all of one sign: exact
    assert difference.paired.wilcoxon_p == pytest.approx(wilcoxon([0.11, 0.14, 0.36]).pvalue)


def test_the_table_is_corrected_over_all_its_pairs_and_counts_cases_and_runs(group_of):
    group = group_of(
        ("A", [0.1, 0.1, 0.1, 0.1, 0.1], {}),
        ("B", [0.2, 0.3, 0.4, 0.5, 0.6], {}),
        ("B", [0.2, 0.3, 0.4, 0.5, 0.6], {}),
        ("C", [0.2, 0.3, 0.0, 0.5, 0.7], {}),
    )
    section = between_section(group)

    # B - A: +0.1 to +0.5, p = 2 / 2^5. C - A: ranks of 0.1, 0.2, -0.1, 0.4, 0.6 with a tie: approximated.
    first, second = cells(section)
    assert first[:2] == ["B minus A", "Tumor: Dice ↑"]
    assert first[2].startswith("+0.300 [+")
    # t of B - A: mean 0.3, standard deviation 0.158, 5 cases: t = 4.243, p = 0.0132, the smaller of two
    assert first[3:7] == ["5 of 5", "2 and 1", "0.062 (0.125)", "0.013 (0.026)"]
    assert second[0] == "C minus A"
    assert second[4] == "1 and 1"
    p = wilcoxon([0.1, 0.2, -0.1, 0.4, 0.6]).pvalue
    assert second[5] == f"{p:.3f} ({max(p, 0.125):.3f})"
    t = ttest_rel([0.2, 0.3, 0.0, 0.5, 0.7], [0.1] * 5).pvalue
    assert second[6] == f"{t:.3f} ({t:.3f})"
    assert section.header[5:] == ("Wilcoxon p (Holm)", "t-test p (Holm)", "Rank-biserial r", "Cohen's dz")
    # C - A: of the ranks 1.5, 3, -1.5, 4, 5 are 13.5 and 1.5 of 15; mean 0.24, standard deviation 0.27
    assert (first[7:], second[7:]) == (["1.00", "1.90"], ["0.80", "0.89"])
    assert "of the paired t-test" in section.caption
    assert [row.kind for row in section.rows] == ["group", "group"]
    assert section.title == "Between the rows: own/t on kits19"
    assert "corrected by Holm over all 2 comparisons" in section.caption
    assert section.notes == []


def test_below_the_table_stands_what_averaging_means_and_how_far_the_seeds_lie_apart(group_of):
    group = group_of(
        ("A", [0.1, 0.2, 0.3, 0.4, 0.5], {}), ("B", [0.4] * 5, {}), ("B", [0.6] * 5, {}), ("B", [0.5] * 5, {})
    )
    averaged, spread = between_section(group).explanations

    assert "over cases, not over trainings" in averaged
    assert "What is undefined for a case in any run of a row is undefined for that case of the row." in averaged
    assert spread == "Means of the 3 runs of B, smallest to largest: Tumor, Dice 0.400 to 0.600."


def test_rows_that_were_trained_once_say_so(group_of):
    section = between_section(group_of(("A", [0.1] * 5, {}), ("B", [0.4] * 5, {})))

    assert section.explanations[1].startswith("Every row was trained once, so that nothing here tells")


def test_the_experiment_chooses_the_pairs(group_of):
    compare = {"B": "A", "C": ["B", "A"], "D": "A"}
    group = group_of(*((row, [0.1, 0.2, 0.3, 0.4, 0.5], {"compare": compare}) for row in "ABC"))

    assert choose_pairs(group) == [("B", "A"), ("C", "B"), ("C", "A"), ("D", "A")]
    section = between_section(group)
    assert [row[0] for row in cells(section)] == ["B minus A", "C minus B", "C minus A"]
    assert section.notes == ["Not compared, since the report has no scored runs of them on this data: D."]


def test_a_baseline_of_the_user_goes_before_the_experiment(group_of):
    rows = [(row, [0.1, 0.2, 0.3, 0.4, 0.5], {"compare": {"B": "A"}}) for row in "ABC"]
    group = group_of(*rows)

    assert choose_pairs(replace(group, baseline="C")) == [("A", "C"), ("B", "C")]
    assert choose_pairs(replace(group, baseline="of another table")) == [("B", "A")]


def test_a_baseline_may_be_a_row_of_several_seeds(write_row, tmp_path):
    scores = {case: {("tumor", "dice"): 0.5} for case in CASES}
    paths = [write_row(f"{row}{k}", row, scores, table="own/t", seed=k) for row in "ABC" for k in range(2)]
    contents = collect(paths, Choices(baseline="B", experiments=tmp_path))

    (between,) = [section for section in contents.sections if section.id.startswith("between")]
    assert [row[0] for row in cells(between)] == ["A minus B", "C minus B"]
    assert contents.differences is None  # single seeds are no methods
    named = collect(paths, Choices(baseline=str(paths[2]), experiments=tmp_path))
    assert named.differences is not None
    assert len(named.differences.table) == 5


def test_without_a_choice_every_row_is_compared_with_the_first(group_of):
    group = group_of(*((row, [0.1] * 5, {}) for row in "BAC"))

    assert choose_pairs(group) == [("A", "B"), ("C", "B")]


def test_rows_are_compared_under_the_same_settings_alone(group_of):
    def run(row, value, *overrides):
        return row, [value] * 5, {"overrides": [f"model={row}", *overrides]}

    section = between_section(
        group_of(run("A", 0.1), run("A", 0.2, "preset=small"), run("B", 0.5, "preset=small"), run("C", 0.7))
    )
    assert [row[0] for row in cells(section)] == ["B minus A (preset=small)", "C minus A"]
    assert [row[2][:6] for row in cells(section)] == ["+0.300", "+0.600"]


def test_runs_on_other_cases_are_named_and_not_compared(group_of):
    section = between_section(
        group_of(("A", [0.1] * 5, {}), ("B", [0.2] * 5, {}), ("C", [0.3] * 5, {"cases": ["c1", "c2", "c3", "c4", "x"]}))
    )
    assert [row[0] for row in cells(section)] == ["B minus A"]
    (note,) = section.notes
    assert note.startswith("Compared on different cases: ")
    assert note.endswith(" on 5, and 4 are in both; no paired test.")


def test_where_no_rows_can_be_compared_the_reasons_stand_alone(group_of):
    section = between_section(group_of(("A", [0.1] * 5, {}), ("B", [0.3] * 4, {"cases": ["x", *CASES[:3]]})))

    assert (section.rows, section.explanations) == ([], [])
    assert section.notes[0].startswith("Compared on different cases: ")


def test_what_is_better_near_zero_is_compared_by_its_size_before_seeds_are_averaged(group_of):
    group = group_of(("A", [0.1] * 5, {}), ("B", [0.3] * 5, {}), ("B", [-0.3] * 5, {}), metrics=("rvd",))
    (row,) = cells(between_section(group))

    assert row[1] == "Tumor: Relative volume difference →0, its size"
    assert row[2].startswith("+0.200")  # and not |mean(0.3, -0.3)| - 0.1 = -0.1


def test_numbers_that_are_neither_good_nor_bad_are_not_tested(group_of):
    group = group_of(("A", [1.0] * 5, {}), ("B", [2.0] * 5, {}), metrics=("lesion_count",))

    assert between_section(group) is None


def test_one_row_has_nothing_between(group_of):
    assert between_section(group_of(("A", [0.1] * 5, {}), ("A", [0.2] * 5, {}))) is None


def test_made_up_images_are_said_to_be_so(group_of):
    section = between_section(group_of(*((row, [0.1] * 5, {"data": PHANTOM}) for row in "AB")))

    assert section.title == "Between the rows: own/t on phantom"
    assert section.notes == [
        "SYNTHESIZED: the images of phantom are made up, so that these differences say nothing about patients."
    ]
