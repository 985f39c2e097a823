import json
import logging

import pytest

from kidney_lab.data.split_choice import CasesHere, SplitChoice
from kidney_lab.data.split_files.load import read_split
from kidney_lab.data.splits import seeded_split
from kidney_lab.errors import InputError

N_CASES = {"kits19": [*range(210)], "kits21": [*range(300)], "kits23": [*range(300), *range(400, 589)]}


def ids(numbers):
    return frozenset(f"case_{number:05d}" for number in numbers)


def here(dataset="kits19", *, without=(), test=None, numbers=None):
    labelled = ids(N_CASES[dataset] if numbers is None else numbers) - ids(without)
    folder = None if test is None else "there"
    return CasesHere(dataset, labelled, labelled if test is None else ids(test), "folder", folder)


@pytest.mark.parametrize("dataset", N_CASES)
def test_the_default_is_the_split_of_the_dataset_where_it_is_whole(dataset, caplog):
    assert SplitChoice().choose(here(dataset)) == read_split("kidney_lab").split(dataset, 0)
    assert SplitChoice(fold=3).choose(here(dataset)) == read_split("kidney_lab").split(dataset, 3)
    assert not caplog.records


def test_cases_beyond_the_edition_change_nothing():
    assert SplitChoice().choose(here("kits19", numbers=range(300))) == read_split("kidney_lab").split("kits19")


def test_one_missing_case_makes_the_default_a_seeded_split_and_is_told(caplog):
    with caplog.at_level(logging.WARNING):
        split = SplitChoice(seed=4).choose(here(without=[17]))

    rest = sorted(here(without=[17]).labelled)
    assert split == seeded_split(rest, n_train=None, n_val=None, n_test=None, seed=4)
    assert "kidney_lab lacks 1 of its 210 cases here (case_00017)" in caplog.text


def test_a_size_that_is_given_makes_the_default_a_seeded_split():
    split = SplitChoice(n_train=5, n_val=3, n_test=2).choose(here())

    assert (split.name, *map(len, split.parts)) == ("seeded", 5, 3, 2)


def test_a_dataset_without_a_split_of_its_own_is_split_at_random_without_a_warning(caplog):
    cases = ids(range(10))
    split = SplitChoice().choose(CasesHere("mine", cases, cases, "folder"))

    assert (split.name, *map(len, split.parts)) == ("seeded", 7, 1, 2)
    assert not caplog.records


def test_a_named_split_lists_what_it_lacks():
    with pytest.raises(InputError) as refused:
        SplitChoice("vnet_189_21").choose(here(without=range(100, 120)))

    message = str(refused.value)
    assert "data.split=vnet_189_21 needs 20 cases not in data.root=folder with a reference" in message
    assert "case_00100, case_00101, case_00102, case_00103, case_00104, ...;" in message
    assert "case_00105" not in message
    assert "test_root" not in message


def test_the_official_split_of_kits19_wants_its_test_cases_from_another_folder():
    with pytest.raises(InputError, match=r"needs 90 cases .* set data\.test_root= to a KiTS21 or KiTS23 folder"):
        SplitChoice("kits19_official").choose(here())

    split = SplitChoice("kits19_official").choose(here(test=N_CASES["kits23"]))
    assert tuple(map(len, split.parts)) == (190, 20, 90)
    assert SplitChoice("kits19_official").choose(here("kits21")) == split


def test_the_folder_of_test_cases_never_lends_training_cases():
    with pytest.raises(InputError, match=r"data\.root=folder and data\.test_root=there with a reference: case_00000;"):
        SplitChoice("kits19_official").choose(here(without=[0], test=N_CASES["kits23"]))


def test_a_test_folder_that_lacks_cases_is_named():
    with pytest.raises(InputError, match=r"needs 1 case not .* data\.test_root=there with a reference: case_00299;"):
        SplitChoice("kits19_official").choose(here(test=range(299)))


@pytest.mark.parametrize("choice", ["auto", "kidney_lab", "vnet_168_21_21"])
def test_excluded_cases_leave_every_part_and_need_not_be_there(choice):
    whole = SplitChoice(choice).choose(here())
    split = SplitChoice(choice, exclude="nnunet2019").choose(here(without=[23, 68]))

    gone = ids([23, 68, 125, 133])
    assert split.parts == tuple(tuple(case for case in part if case not in gone) for part in whole.parts)
    assert (split.name, split.exclude, split.excluded) == (whole.name, ("nnunet2019",), tuple(sorted(gone)))
    assert split.hash != whole.hash


def test_excluded_cases_are_not_drawn_into_a_seeded_split():
    split = SplitChoice(n_train=100, n_val=10, n_test=95, exclude=["thesis", "nnunet2019"]).choose(here())

    assert len(split.cases) == 205
    assert not {*split.cases} & ids([23, 68, 125, 133, 160])
    assert split.excluded == tuple(sorted(ids([23, 68, 125, 133, 160])))


def test_excluding_moves_no_case_of_a_seeded_split_into_another_part():
    cases = here(without=[17])  # which makes the split a seeded one
    whole, split = SplitChoice().choose(cases), SplitChoice(exclude="nnunet2019").choose(cases)

    gone = ids([23, 68, 125, 133])
    assert split.parts == tuple(tuple(case for case in part if case not in gone) for part in whole.parts)


def test_cases_that_the_user_left_out_are_the_reason_that_is_given():
    few = CasesHere("kits19", ids(range(4)), ids(range(300)), "folder", "there", only="0-3")
    with pytest.raises(InputError, match=r"needs 206 cases not among data\.cases=0-3 in data\.root=folder") as refused:
        SplitChoice("kits19_official").choose(few)
    assert "case_00004, " in str(refused.value)
    assert "; leave data.cases out, or choose another split" in str(refused.value)


def test_only_cases_that_are_there_count_as_excluded():
    assert SplitChoice(exclude="nnunet2019").choose(here(numbers=range(50))).excluded == ("case_00023",)


def test_a_users_file_is_taken_by_its_path(tmp_path):
    (tmp_path / "splits_final.json").write_text(json.dumps([{"train": [1, 2], "val": [3]}, {"train": [3], "val": [1]}]))
    split = SplitChoice(str(tmp_path / "splits_final.json"), fold=1).choose(here())

    assert (split.train, split.val, split.test) == (("case_00003",), ("case_00001",), ())
    assert (split.name, split.fold, split.scored) == ("splits_final", 1, "validation")


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (SplitChoice("kidney_lab", n_train=5), r"data\.n_train=5 cannot size data\.split=kidney_lab"),
        (SplitChoice("kidney_lab", n_val=0, n_test=1), r"data\.n_val=0, data\.n_test=1 cannot size"),
        (SplitChoice(n_train=5, fold=1), r"data\.fold=1 goes with a split by name, .* since its size is given"),
        (SplitChoice("nothing"), "data.split=nothing is unknown"),
        (SplitChoice(exclude="nothing"), "data.exclude=nothing is unknown"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(choice, message):
    with pytest.raises(InputError, match=message):
        choice.choose(here())


def test_a_folder_of_test_cases_means_nothing_to_a_seeded_split():
    with pytest.raises(InputError, match=r"data\.test_root=there goes with a split by name"):
        SplitChoice(n_test=3).choose(here(test=range(210)))
