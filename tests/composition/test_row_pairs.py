import pytest

from kidney_lab.composition.row_pairs import check_pairs, row_pairs
from kidney_lab.errors import InputError


def test_a_row_may_be_compared_with_several():
    compare = {"Baseline + MSAL": ["Baseline", "extra: no D"], "Baseline": "Without", 3: 4}

    assert row_pairs(compare) == [
        ("Baseline + MSAL", "Baseline"),
        ("Baseline + MSAL", "extra: no D"),
        ("Baseline", "Without"),
        ("3", "4"),
    ]
    assert row_pairs(None) == []


@pytest.mark.parametrize(
    ("compare", "sentence"),
    [
        (["A", "B"], r"experiment\.compare=\['A', 'B'\] names no pairs of rows: write it as in"),
        ({"A": None}, r"experiment\.compare\.A=None names no row"),
        ({"A": {"B": "C"}}, r"experiment\.compare\.A=\{'B': 'C'\} names no row"),
        ({"A": ["B", "A"]}, r"experiment\.compare compares the row 'A' with itself: name another one"),
    ],
)
def test_what_is_no_pair_is_refused(compare, sentence):
    with pytest.raises(InputError, match=sentence):
        row_pairs(compare)


def test_both_rows_of_a_pair_must_be_the_table_s():
    check_pairs([("A", "B")], ["A", "B"], "a/b")

    with pytest.raises(InputError, match=r"names 'C', which is no row of a/b: choose among A; B\."):
        check_pairs([("A", "C")], ["A", "B"], "a/b")
