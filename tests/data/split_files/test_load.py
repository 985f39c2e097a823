import json

import pytest

from kidney_lab.data.split_files.load import FOLDER, case_id, read_split, split_names
from kidney_lab.errors import InputError

HASHES = {
    "ensemble_70_10_20": ["99a7d621be6c"],
    "ernet_random_70_30": ["96cf03dad3c9"],
    "kidney_lab": ["1e0d923abd87", "c0e6f4615573", "1c9050f86e11", "eca1270462e5", "7c42c9a84d0b"],
    "kits19_official": ["f3e9b04f83e2"],
    "kits19_small_tumors": ["ffd2f8ac7536"],
    "msalds_240_30_30": ["9fcda9fa0944"],
    "thesis_190_20": ["b921e502009f"],
    "vnet_168_21_21": ["e76e02383cad"],
    "vnet_189_21": ["4b964f2fff1b"],
}

SIZES = {  # training, validation, test; as the papers print them
    ("kits19_official", "kits19"): (190, 20, 90),
    ("kits19_official", "kits23"): (190, 20, 90),
    ("kits19_small_tumors", "kits19"): (40, 4, 12),
    ("msalds_240_30_30", "kits21"): (240, 30, 30),
    ("vnet_168_21_21", "kits19"): (168, 21, 21),
    ("vnet_189_21", "kits19"): (189, 21, 0),
    ("thesis_190_20", "kits19"): (190, 20, 0),
    ("ensemble_70_10_20", "kits19"): (147, 21, 42),
    ("ernet_random_70_30", "kits21"): (190, 20, 90),
    ("kidney_lab", "kits19"): (134, 34, 42),
    ("kidney_lab", "kits21"): (192, 48, 60),
    ("kidney_lab", "kits23"): (313, 78, 98),
}


def ids(*numbers):
    return tuple(f"case_{number:05d}" for number in numbers)


@pytest.fixture
def file(tmp_path):
    """Writes a split file and returns its path."""

    def write(content, name="mine.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    return write


def test_the_splits_of_this_version_never_change():
    assert {name: [split.hash for split in read_split(name).folds] for name in split_names()} == HASHES


@pytest.mark.parametrize(("choice", "dataset"), SIZES, ids=" ".join)
def test_a_named_split_has_the_sizes_of_its_paper(choice, dataset):
    split = read_split(choice).split(dataset)

    assert tuple(map(len, split.parts)) == SIZES[choice, dataset]
    assert len(set(split.cases)) == len(split.cases)
    assert split.name == choice


@pytest.mark.parametrize("name", sorted(HASHES))
def test_every_file_says_what_it_is_and_holds_cases_that_exist(name):
    content = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    assert content["description"]
    assert content["drawn"]
    public = {*ids(*range(300), *range(400, 589))}
    for fold in read_split(name).folds:
        assert {*fold.cases} <= public


def test_the_official_test_cases_are_the_ones_that_the_challenge_hid():
    split = read_split("kits19_official").split("kits19")

    assert split.test == ids(*range(210, 300))
    assert sorted(split.train + split.val) == list(ids(*range(210)))
    thesis = read_split("thesis_190_20").split("kits19")
    assert (thesis.train, thesis.val) == (split.train, split.val)


def test_every_fold_validates_on_its_own_cases_and_all_share_the_test():
    file = read_split("kidney_lab")
    folds = [file.split("kits23", fold) for fold in range(5)]

    assert len({fold.test for fold in folds}) == 1
    validated = [case for fold in folds for case in fold.val]
    assert len(set(validated)) == len(validated) == 489 - 98
    for k, fold in enumerate(folds):
        assert fold.fold == k
        assert sorted(fold.cases) == sorted(folds[0].cases)


@pytest.mark.parametrize("fold", range(5))
def test_a_patient_is_in_the_same_part_of_every_edition(fold):
    whole = read_split("kidney_lab").split("kits23", fold)
    for dataset, n in (("kits19", 210), ("kits21", 300)):
        part = read_split("kidney_lab").split(dataset, fold)
        assert sorted(part.cases) == list(ids(*range(n)))
        assert all({*mine} <= {*theirs} for mine, theirs in zip(part.parts, whole.parts, strict=True))


def test_no_fold_is_the_first():
    assert read_split("kidney_lab").split("kits23") == read_split("kidney_lab").split("kits23", 0)


def test_nnu_nets_splits_are_read_fold_by_fold(file):
    content = [{"train": ["KiTS_00001", "case_00002"], "val": ["case_00003"]}, {"train": ["3"], "val": ["1", "2"]}]
    split_file = read_split(file(content, "splits_final.json"))

    first, second = (split_file.split("anything", fold) for fold in (None, 1))
    assert (first.train, first.val, first.test) == (ids(1, 2), ids(3), ())
    assert (second.train, second.val, second.fold) == (ids(3), ids(1, 2), 1)
    assert first.name == "splits_final"


def test_a_runs_own_split_is_read_as_it_was(file):
    written = {
        "train": ids(4, 7),
        "val": ids(5),
        "test": ids(6),
        "name": "kidney_lab",
        "fold": 3,
        "exclude": ["thesis"],
        "excluded": ids(160),
        "hash": "0",
    }
    split = read_split(file(written, "split.json")).split("phantom")

    assert split.parts == (ids(4, 7), ids(5), ids(6))
    assert (split.name, split.fold, split.exclude, split.excluded) == ("kidney_lab", 3, ("thesis",), ids(160))


def test_a_file_may_leave_out_the_test(file):
    assert read_split(file({"train": [1, 2], "val": [3]})).split("kits23").parts == (ids(1, 2), ids(3), ())


def test_ids_of_other_tools_are_numbers_and_folders_of_the_user_stay():
    assert [
        case_id(case)
        for case in (7, "7", "KiTS_00007", "kits23-007", "case_00007", "KiTS_00007.nii.gz", 0, "case_7", "mine")
    ] == [
        *ids(7, 7, 7, 7, 7, 7, 0),
        "case_7",
        "mine",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"train": [1, 2], "val": [3], "test": [2]},
            r"holds 1 patient more than once: case_00002 \(training and test\)",
        ),
        ({"train": [1, "case_00001"], "val": [3]}, r"case_00001 \(training and training\)"),
        ({"train": [*range(9)], "val": [*range(9)]}, r"9 patients .* case_00004 \(training and validation\), \.\.\.;"),
        ([{"train": [1], "val": [2]}, {"train": [1], "val": [1]}], "holds 1 patient more than once"),
        ({"test": [1], "folds": [[2], [1, 3]]}, r"case_00001 \(training and test\)"),
        ({"train": [1], "val": []}, "has no validation cases"),
        ({"train": [], "val": [1]}, "has no training cases"),
        ({"train": [1]}, r"cannot be read as a split \(it has no val\)"),
        (
            {"train": [1, -2], "val": [3]},
            r"cannot be read as a split \(-2 is no case: give a number from 0 on, or a name",
        ),
        ({"train": [7.0], "val": [3]}, r"7\.0 is no case"),
        ({"train": [True], "val": [3]}, "True is no case"),
        ({"train": ["-2"], "val": [3]}, "-2 is no case"),
        ({"train": ["7.0"], "val": [3]}, r"7\.0 is no case"),
        ({"train": [None], "val": [3]}, "None is no case"),
        ({"train": [""], "val": [3]}, " is no case"),
        ({"train": [[1]], "val": [3]}, r"\[1\] is no case"),
        ({"train": "case_00001", "val": [3]}, "case_00001 is no list of cases"),
        ({"train": [1], "val": [3], "test": "12"}, "12 is no list of cases"),
        ([{"train": [1], "val": "case_00003"}], "case_00003 is no list of cases"),
        ({"test": [], "folds": ["12", "34"]}, "12 is no list of cases"),
        ("{", "cannot be read as a split"),
        ("5", "cannot be read as a split"),
        ("[]", "it has no folds"),
        ('["case_00001"]', "cannot be read as a split"),
    ],
)
def test_a_file_that_is_no_sound_split_is_refused(file, content, message):
    with pytest.raises(InputError, match=message) as refused:
        read_split(file(content))
    assert "mine.json" in str(refused.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.json cannot be read as a split \(No such file or directory\)"):
        read_split(str(tmp_path / "nowhere.json"))


def test_an_unknown_name_names_the_splits_that_there_are():
    with pytest.raises(InputError, match=r"data\.split=kitsch is unknown: choose auto, .*kidney_lab, .*vnet_189_21"):
        read_split("kitsch")


@pytest.mark.parametrize(
    ("choice", "dataset", "fold", "message"),
    [
        ("msalds_240_30_30", "kits19", None, "splits kits21, kits23, not data=kits19"),
        ("kidney_lab", "phantom", None, "not data=phantom"),
        ("vnet_189_21", "kits19", 0, r"data\.fold=0 means nothing to data\.split=vnet_189_21"),
        ("kidney_lab", "kits19", 5, r"data\.fold=5 is no fold of data\.split=kidney_lab: choose one from 0 to 4"),
        ("kidney_lab", "kits19", -1, r"data\.fold=-1 is no fold"),
        ("kidney_lab", "kits19", "two", r"data\.fold=two is no fold"),
    ],
)
def test_what_a_split_does_not_have_is_refused(choice, dataset, fold, message):
    with pytest.raises(InputError, match=message):
        read_split(choice).split(dataset, fold)
