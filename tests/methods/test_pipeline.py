from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from kidney_lab.data.prepare import GridRecipe
from kidney_lab.errors import InputError
from kidney_lab.methods.earlier import Earlier
from kidney_lab.methods.pipeline import check_order, enabled_stages


def stage(earlier=None, *, crop_to_body=True, contains=None, **settings):
    """What `check_order` reads of a stage."""
    taken = None if earlier is None else Earlier(earlier, ["kidney"], **settings)
    return SimpleNamespace(earlier=taken, grid=GridRecipe(crop_to_body=crop_to_body), contains=contains)


def test_stages_that_are_not_enabled_take_no_part_and_the_order_stays():
    config = OmegaConf.create({"b": {"enabled": True}, "c": {"enabled": False}, "a": {"batch_size": 2}})

    assert list(enabled_stages(config)) == ["b", "a"]


def test_an_ensemble_of_finished_runs_has_no_stage():
    assert enabled_stages(OmegaConf.create({"a": {"enabled": False}})) == enabled_stages(OmegaConf.create({})) == {}


def test_stages_may_take_from_any_stage_before_them():
    check_order({"coarse": stage(), "kidney": stage("coarse"), "tumor": stage("coarse"), "mass": stage("kidney")})


@pytest.mark.parametrize(
    "stages",
    [
        {"fine": stage("coarse")},
        {"fine": stage("coarse"), "coarse": stage()},
        {"coarse": stage(), "fine": stage("fine")},
    ],
)
def test_a_stage_that_is_not_before_it_cannot_be_taken_from(stages):
    with pytest.raises(InputError, match=r"The stage fine takes from the stage \w+, which is not enabled before it"):
        check_order(stages)


def test_a_stage_contains_only_a_stage_before_it():
    check_order({"detector": stage(), "refit": stage(contains="detector")})
    with pytest.raises(InputError, match="The stage refit contains the stage detector, which is not enabled before it"):
        check_order({"refit": stage(contains="detector"), "detector": stage()})


def test_out_of_fold_predictions_are_those_of_a_first_stage():
    stages = {"coarse": stage(), "kidney": stage("coarse"), "tumor": stage("kidney", prior="out_of_fold")}

    with pytest.raises(
        InputError, match="cannot take out-of-fold predictions of kidney, which itself takes from coarse"
    ):
        check_order(stages)


def test_grids_of_different_extent_are_refused():
    with pytest.raises(InputError, match=r"coarse and fine differ in grid\.crop_to_body"):
        check_order({"coarse": stage(), "fine": stage("coarse", crop_to_body=False)})
