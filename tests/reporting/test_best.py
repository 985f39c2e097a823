import pytest

from kidney_lab.reporting.best import Candidate, best_cells, best_in_groups


def best(cells, title, groups=None):
    groups = groups or ["a"] * len(cells)
    return sorted(
        row
        for row, _ in best_cells(
            Candidate(k, 2, c, title, g) for k, (c, g) in enumerate(zip(cells, groups, strict=True))
        )
    )


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Dice ↑", [1]),
        ("ASD (mm) ↓, mean [95% CI]", [2]),
        ("Volume difference →0", [3]),
        ("Cases", []),
        ("Time per case (s) ↓", []),
        ("Peak memory (GiB) ↓", []),
        ("Memory (MiB) ↓", []),
        ("Mean Dice", []),
    ],
)
def test_the_arrow_of_the_title_says_what_is_best(title, expected):
    assert best(["0.5 [0.1, 0.9]", "0.7", "-0.4", "0.1", "—", ""], title) == expected


def test_values_that_are_shown_alike_are_both_best():
    assert best(["0.700 [0.6, 0.8]", "0.700 [0.5, 0.9]", "0.699"], "Dice ↑") == [0, 1]


def test_values_are_set_against_those_of_their_group_alone():
    assert best(["0.5", "0.6", "0.1", "0.2", "0.9"], "Dice ↑", ["a", "a", "b", "b", "alone"]) == [1, 3]


def test_where_all_values_are_alike_none_is_the_best():
    assert best(["0.7", "0.7"], "Dice ↑") == []


def test_rows_that_begin_alike_are_a_group_of_each_column():
    rows = [
        ["small", "A", "0.5", "3"],
        ["small", "B", "0.6", "2"],
        ["large", "A", "0.9", "1"],
        ["large", "B", "0.8", "1"],
    ]
    header = ["Stratum", "Row", "Dice ↑", "ASD ↓"]

    assert best_in_groups(rows, (2, 3), lambda cells, column: header[column]) == {(1, 2), (1, 3), (2, 2)}
