import pytest

from kidney_lab.data.exclusions import EXCLUSIONS, excluded_cases
from kidney_lab.errors import InputError


@pytest.mark.parametrize("nothing", ["none", None, [], ["none"]])
def test_nothing_is_excluded_unless_asked_for(nothing):
    assert excluded_cases(nothing) == ((), frozenset())


def test_a_list_gives_its_cases():
    names, cases = excluded_cases("nnunet2019")

    assert names == ("nnunet2019",)
    assert cases == {"case_00023", "case_00068", "case_00125", "case_00133"}


def test_several_lists_give_their_union():
    names, cases = excluded_cases(["kits19_issue6", "kits19_issue21", "kits19_issue6"])

    assert names == ("kits19_issue6", "kits19_issue21")
    assert cases == {f"case_{number:05d}" for number in (15, 25, 37, 61, 117)}


def test_the_outlier_of_the_thesis_is_the_one_of_another_size():
    assert excluded_cases("thesis")[1] == {"case_00160"}


def test_every_list_has_a_source():
    assert all(len(entry.source) > 20 for entry in EXCLUSIONS.values())


@pytest.mark.parametrize(
    ("wrong", "shown"),
    [
        ("bad", "bad"),
        (["nnunet2019", "bad"], r"\[nnunet2019,bad\]"),
        (5, r"\[5\]"),
        ([1, "thesis"], r"\[1,thesis\]"),
        ("", ""),
    ],
)
def test_an_unknown_list_names_those_that_there_are(wrong, shown):
    message = rf"data\.exclude={shown} is unknown: choose none, or of kits19_issue6, .*thesis"
    with pytest.raises(InputError, match=message):
        excluded_cases(wrong)


@pytest.mark.parametrize("wrong", [["none", "thesis"], "thesis,none"])
def test_none_stands_alone(wrong):
    with pytest.raises(InputError, match=r"data\.exclude=.* names none beside others: choose none alone"):
        excluded_cases(wrong)
