import pytest
from omegaconf import ListConfig

from kidney_lab.data.case_ids import parse_cases
from kidney_lab.errors import InputError


@pytest.mark.parametrize(
    ("cases", "numbers"),
    [
        (7, [7]),
        (0, [0]),
        ("007", [7]),
        ("case_00003", [3]),
        ("0-3", [0, 1, 2, 3]),
        ("case_00008-case_00010", [8, 9, 10]),
        ("5-5", [5]),
        ("3,7,10-12", [3, 7, 10, 11, 12]),
        (" 3, 1 ,3", [1, 3]),
        ([3, "7", "10-12", "case_00001"], [1, 3, 7, 10, 11, 12]),
        (ListConfig([3, "10-11"]), [3, 10, 11]),
    ],
)
def test_numbers_ids_ranges_and_lists_are_cases(cases, numbers):
    assert parse_cases(cases) == [f"case_{number:05d}" for number in numbers]


@pytest.mark.parametrize(
    ("cases", "sentence"),
    [
        ("a", "holds 'a', which is no case: write numbers, ids or ranges"),
        ("3-", "holds '3-'"),
        (-3, "holds '-3'"),
        (1.5, "holds '1.5'"),
        (True, "holds 'True'"),
        (123456, "holds '123456'"),
        ("", "holds ''"),
        ([[3]], "holds '[3]'"),
        ("9-3", "data.cases=9-3 holds the range 9-3, which runs backwards"),
        ([], "chooses no case"),
        (None, "holds 'None'"),
    ],
)
def test_anything_else_is_refused_with_what_is_allowed(cases, sentence):
    with pytest.raises(InputError) as raised:
        parse_cases(cases)

    assert sentence in str(raised.value)
    assert "data.cases=0-19" in str(raised.value)
