import pytest

from kidney_lab.errors import InputError
from kidney_lab.inference.member_weights import check_weights, choose_weights


def never():
    raise AssertionError


def test_numbers_stand_for_themselves_and_equal_ones_are_1():
    assert choose_weights([2, 0.5], ["a", "b"], never) == [2.0, 0.5]
    assert choose_weights("equal", ["a", "b", "c"], never) == [1.0, 1.0, 1.0]


def test_by_dice_members_are_compared_on_the_regions_that_all_of_them_know():
    dice = {"a": {"kidney_and_mass": 0.9, "tumor": 0.5}, "b": {"kidney_and_mass": 0.8, "mass": 0.1, "tumor": 0.6}}
    kidney = {**dice, "c": {"kidney_and_mass": 0.95}}

    assert choose_weights("validation_dice", ["a", "b"], lambda: dice) == pytest.approx([0.7, 0.7])
    assert choose_weights("validation_dice", ["a", "b", "c"], lambda: kidney) == pytest.approx([0.9, 0.8, 0.95])


def test_members_without_a_common_region_cannot_be_weighed_by_dice():
    dice = {"a": {"tumor": 0.5}, "b": {"kidney": 0.5}}

    with pytest.raises(InputError, match="needs a region that every member was validated on, and a shares none"):
        choose_weights("validation_dice", ["a", "b"], lambda: dice)


def test_members_that_found_nothing_in_validation_count_alike(caplog):
    dice = {"a": {"tumor": 0.0}, "b": {"tumor": 0.0}}

    assert choose_weights("validation_dice", ["a", "b"], lambda: dice) == [1.0, 1.0]
    assert "The validation Dice of a, b is 0 each" in caplog.text


@pytest.mark.parametrize("weights", [[1.0], [1.0, 2.0, 3.0]])
def test_there_are_as_many_numbers_as_members(weights):
    with pytest.raises(InputError, match=rf"has {len(weights)} numbers? for 2 members \(a, b\): choose equal, "):
        choose_weights(weights, ["a", "b"], never)


@pytest.mark.parametrize("weights", [[-1.0, 2.0], [0.0], [], ["a"], [True], [float("nan")], 3, None, {"a": 1}])
def test_what_is_no_weight_is_refused(weights):
    with pytest.raises(InputError, match=r"model\.member_weights="):
        check_weights(weights)


@pytest.mark.parametrize(
    ("weights", "chosen"),
    [("equal", [1.0, 1.0]), ("validation_dice", [0.5, 0.75]), ([0, 1], [0.0, 1.0]), ((0.5, 0.25), [0.5, 0.25])],
)
def test_what_is_a_weight_is_taken(weights, chosen):
    check_weights(weights)

    assert choose_weights(weights, ["a", "b"], lambda: {"a": {"tumor": 0.5}, "b": {"tumor": 0.75}}) == chosen
