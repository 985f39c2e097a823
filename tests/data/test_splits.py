import pytest

from kidney_lab.data.splits import Split, seeded_split
from kidney_lab.errors import InputError

CASES = [f"case_{k:05d}" for k in range(40)]


def split(cases=CASES, *, n_train=None, n_val=None, n_test=None, seed=0, excluded=()) -> Split:
    return seeded_split(cases, n_train=n_train, n_val=n_val, n_test=n_test, seed=seed, excluded=excluded)


def sizes(of: Split) -> tuple[int, int, int]:
    return len(of.train), len(of.val), len(of.test)


def test_without_numbers_the_parts_are_seven_one_and_two_tenths():
    assert sizes(split()) == (28, 4, 8)


def test_every_case_is_in_exactly_one_part():
    assert sorted(split().cases) == CASES


def test_parts_are_sorted():
    for part in split().parts:
        assert list(part) == sorted(part)


def test_given_numbers_are_kept_and_cases_beyond_them_left_out():
    result = split(n_train=5, n_val=3, n_test=2)

    assert sizes(result) == (5, 3, 2)
    assert len(set(result.cases)) == 10


def test_training_takes_what_the_other_parts_leave():
    assert sizes(split(n_val=10, n_test=10)) == (20, 10, 10)


def test_few_cases_still_give_every_part_one():
    assert sizes(split(CASES[:3])) == (1, 1, 1)


def test_a_split_without_a_test_part_is_allowed():
    assert sizes(split(n_test=0)) == (36, 4, 0)


def test_the_order_in_which_cases_are_found_does_not_matter():
    assert split(CASES[::-1]) == split()


def test_the_seed_decides():
    assert split(seed=1) != split()
    assert split(seed=1) == split(seed=1)


def test_the_split_of_a_seed_never_changes():
    # Results are comparable over years only while this holds: it must fail when numpy's permutation changes.
    assert split(CASES[:6]) == Split(
        train=("case_00002", "case_00003", "case_00004", "case_00005"), val=("case_00000",), test=("case_00001",)
    )


def test_the_hash_names_the_split():
    assert split().hash == split(CASES[::-1]).hash
    assert split().hash != split(seed=1).hash
    moved = Split(train=("a",), val=("b",), test=("c",)), Split(train=("b",), val=("a",), test=("c",))
    assert moved[0].hash != moved[1].hash


@pytest.mark.parametrize(
    "numbers",
    [
        {"n_train": 30, "n_val": 10, "n_test": 1},
        {"n_train": 0},
        {"n_val": 0},
        {"n_test": -1},
        {"n_val": 30, "n_test": 10},
    ],
)
def test_numbers_that_do_not_fit_are_refused_with_the_numbers(numbers):
    with pytest.raises(InputError, match=r"40 cases cannot be split into .* set data\.n_train"):
        split(**numbers)


def test_too_few_cases_are_refused():
    with pytest.raises(InputError, match="2 cases cannot be split"):
        split(CASES[:2])


def test_a_seeded_split_says_so():
    assert (split().name, split().fold, split().exclude) == ("seeded", None, ())


def test_the_hash_is_that_of_the_parts_alone():
    named = Split(*split().parts, name="mine", fold=2)

    assert named.hash == split().hash
    # sha256 of {"train": ["a"], "val": ["b"], "test": []}, as written by json.dumps
    assert Split(train=("a",), val=("b",), test=()).hash == "2da954847460"


def test_the_test_cases_are_scored_and_without_them_the_validation_cases():
    with_test, without = split(), split(n_test=0)

    assert (with_test.scored, with_test.scored_cases) == ("test", with_test.test)
    assert (without.scored, without.scored_cases) == ("validation", without.val)


def test_excluded_cases_leave_every_part_and_are_written_down():
    whole = Split(train=("a", "b"), val=("c", "d"), test=("e", "f"), name="mine")
    left = whole.without({"b", "d", "f", "z"}, exclude=("bad",))

    assert left.parts == (("a",), ("c",), ("e",))
    assert (left.name, left.exclude, left.excluded) == ("mine", ("bad",), ("b", "d", "f"))
    again = left.without({"a2"}, exclude=("more", "bad"))
    assert (again.exclude, again.excluded) == (("bad", "more"), ("b", "d", "f"))


@pytest.mark.parametrize("cases", [{"a", "b"}, {"c", "d"}])
def test_a_part_that_is_needed_cannot_be_excluded_as_a_whole(cases):
    whole = Split(train=("a", "b"), val=("c", "d"), test=())
    with pytest.raises(InputError, match=r"data\.exclude=\[bad\] leaves . training cases? and . validation cases? of"):
        whole.without(cases, exclude=("bad",))


def test_leaving_cases_out_moves_no_other_case():
    whole, left = split(), split(excluded=CASES[::5])

    for before, after in zip(whole.parts, left.parts, strict=True):
        assert after == tuple(case for case in before if case not in CASES[::5])


def test_parts_whose_numbers_are_given_are_filled_up_with_cases_that_no_part_has():
    numbers = {"n_train": 10, "n_val": 5, "n_test": 5}
    whole = split(**numbers)
    gone = {whole.train[0], whole.val[0], whole.test[0], whole.test[1]}
    left = split(**numbers, excluded=gone)

    assert sizes(left) == sizes(whole)
    assert not gone & {*left.cases}
    for before, after in zip(whole.parts, left.parts, strict=True):
        assert {*before} - gone <= {*after}
        assert not ({*after} - {*before}) & {*whole.cases}


def test_where_training_takes_what_is_left_it_fills_up_the_parts_whose_numbers_are_given():
    whole = split(n_val=5)
    left = split(n_val=5, excluded={whole.val[2], whole.train[0], whole.test[0]})

    assert sizes(left) == (len(whole.train) - 2, 5, len(whole.test) - 1)
    (moved,) = {*left.val} - {*whole.val}
    assert moved in whole.train
    assert {*left.test} < {*whole.test}


@pytest.mark.parametrize(
    ("numbers", "excluded"),
    [
        ({"n_train": 30, "n_val": 5, "n_test": 5}, CASES[:1]),
        ({"n_test": 39 - 4, "n_val": 4}, CASES[:5]),
        ({}, split().train),
        ({}, split().val),
    ],
)
def test_too_few_cases_beside_those_left_out_are_refused(numbers, excluded):
    with pytest.raises(InputError, match=r"The 40 cases without those of data\.exclude cannot be split into"):
        split(**numbers, excluded=excluded)
