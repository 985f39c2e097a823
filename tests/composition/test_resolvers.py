from itertools import pairwise
from typing import get_args

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from kidney_lab.composition.resolvers import (
    PRIORS,
    by_class,
    choose,
    contains,
    doubling,
    equal,
    halving,
    out_channels,
    pick,
    prior_channels,
    register_resolvers,
    root,
    slice_channels,
)
from kidney_lab.errors import InputError
from kidney_lab.methods.earlier import PriorKind


def test_a_softmax_needs_a_channel_for_the_background():
    assert out_channels("labels", ["kidney", "tumor"], ["kidney_and_mass", "tumor"]) == 3


def test_regions_need_a_channel_each():
    assert out_channels("regions", ["kidney", "tumor", "cyst"], ["kidney_and_mass", "mass", "tumor"]) == 3


def test_another_output_names_the_choices():
    with pytest.raises(InputError, match=r"model\.output=soft is unknown: choose labels or regions"):
        out_channels("soft", [], [])


def test_equality_of_values():
    assert equal("a", "a")
    assert not equal("a", "b")


@pytest.mark.parametrize(
    ("cascade", "prior", "channels"),
    [
        (True, "predicted", 4),
        (True, "out_of_fold", 4),
        (True, "reference", 4),
        (True, "none", 1),
        (False, "predicted", 1),
    ],
)
def test_an_earlier_stage_s_labels_are_a_channel_each_beside_the_image(cascade, prior, channels):
    assert prior_channels(cascade, prior, ["kidney", "tumor", "cyst"]) == channels


def test_the_priors_that_are_known_are_those_of_a_stage():
    assert get_args(PriorKind) == PRIORS


@pytest.mark.parametrize("cascade", [True, False])
def test_an_unknown_prior_is_refused_even_where_there_is_no_earlier_stage(cascade):
    with pytest.raises(InputError, match=r"model\.prior=foo is unknown: choose one of predicted, out_of_fold, refer"):
        prior_channels(cascade, "foo", ["kidney"])


def test_a_switch_chooses_between_values_and_between_nodes():
    register_resolvers()
    config = OmegaConf.create(
        {
            "group": {"on": True, "off": False},
            "a": {"x": 1},
            "node": "${if:group.on,${a},null}",
            "other": "${if:group.off,${a},null}",
            "value": "${if:group.off,1,2}",
        }
    )

    assert OmegaConf.to_container(config, resolve=True)["node"] == {"x": 1}
    assert config.other is None
    assert config.value == 2


def test_a_setting_picks_one_of_several_values_or_nodes():
    register_resolvers()
    options = "{unet:${a},linear:3,none:null}"
    config = OmegaConf.create({"decoder": "unet", "a": {"x": [1]}, "picked": f"${{pick:decoder,{options}}}"})

    assert OmegaConf.to_container(config, resolve=True)["picked"] == {"x": [1]}
    config.decoder = "linear"
    assert config.picked == 3
    config.decoder = "none"
    assert config.picked is None
    with pytest.raises(InputError, match=r"^model\.decoder=x is unknown: choose one of unet, linear\.$"):
        pick("model.decoder", {"unet": 1, "linear": 2}, _root_=OmegaConf.create({"model": {"decoder": "x"}}))


def test_a_node_is_copied_with_another_value_and_keeps_its_interpolations():
    register_resolvers()
    config = OmegaConf.create(
        {
            "n": 4,
            "view": {"region": None, "size": "${n}"},
            "mass": "${with:${view},region,mass}",
            "lacking": "${with:${view},color,red}",
        }
    )
    OmegaConf.set_struct(config, True)

    plain = OmegaConf.to_container(config, resolve=True)

    assert plain["mass"] == {"region": "mass", "size": 4}
    assert plain["view"] == plain["lacking"] == {"region": None, "size": 4}


@pytest.mark.parametrize(
    ("key", "value"), [("there", 5), ("nothing", None), ("missing", [2, 3]), ("deep.missing", [2, 3])]
)
def test_a_key_that_is_not_there_has_a_default_and_null_is_a_value(key, value):
    register_resolvers()
    config = OmegaConf.create({"there": 5, "nothing": None, "deep": {}, "value": f"${{select:{key},[2,3]}}"})
    OmegaConf.set_struct(config, True)
    OmegaConf.resolve(config)

    assert OmegaConf.to_container(config)["value"] == value


def test_a_list_tells_what_it_contains():
    register_resolvers()
    config = OmegaConf.create({"labels": ["kidney", "cyst"], "cyst": "${contains:${labels},cyst}"})

    assert config.cyst is True
    assert not contains(["kidney", "tumor"], "cyst")


def test_channels_double_from_level_to_level():
    register_resolvers()
    config = OmegaConf.create({"base": 23, "channels": "${doubling:base,5}"})

    assert OmegaConf.to_container(config, resolve=True)["channels"] == [23, 46, 92, 184, 368]
    for first in (0, -2, True, "abc", None, 1.5):
        with pytest.raises(InputError, match=rf"^base={first} is no count: give a whole number of at least 1\.$"):
            doubling("base", 5, _root_=OmegaConf.create({"base": first}))


def test_the_values_of_a_softmax_s_channels_are_the_background_s_and_the_labels():
    register_resolvers()
    weight = "${by_class:{background:0.2,kidney:0.8,tumor:1.5,cyst:0.8},${labels}}"
    config = OmegaConf.create({"labels": ["kidney", "tumor"], "weight": weight})

    assert OmegaConf.to_container(config, resolve=True)["weight"] == [0.2, 0.8, 1.5]
    with pytest.raises(InputError, match=r"has no value for the label cyst of data\.labels: add it, or write the list"):
        by_class({"background": 1.0, "kidney": 1.0}, ["kidney", "cyst"])


def test_input_channels_of_slices():
    assert [slice_channels(0), slice_channels(2), slice_channels(1, 1)] == [1, 5, 4]
    assert [slice_channels(0, 0, 3), slice_channels(1, 1, 2)] == [3, 7]


def test_shares_of_the_epochs_are_whole_numbers_that_a_scheduler_takes():
    config = OmegaConf.create({"epochs": 50, "milestones": "${shares_of:${epochs},[0.6,0.85]}"})
    register_resolvers()

    assert instantiate(config, _convert_="all")["milestones"] == [30, 42]


def test_so_many_roots_multiply_to_the_value():
    assert root(0.1, 200) ** 200 == pytest.approx(0.1)
    for value, degree in ((0, 2), (0.1, 0)):
        with pytest.raises(InputError, match="has no value: give a number above 0"):
            root(value, degree)


@pytest.mark.parametrize("value", ["maybe", "no", "off", 1, None])
def test_what_is_no_switch_is_refused_by_its_name(value):
    sentence = rf"^model\.cascade={value} is no switch: give true or false\.$"
    config = OmegaConf.create({"model": {"cascade": value}})
    with pytest.raises(InputError, match=sentence):
        choose("model.cascade", 1, 2, _root_=config)
    with pytest.raises(InputError, match=sentence):
        prior_channels(value, "predicted", ["kidney"])


def test_halving_weights_of_five_levels():
    assert halving(5) == [16 / 31, 8 / 31, 4 / 31, 2 / 31, 1 / 31]


@pytest.mark.parametrize("levels", [1, 2, 6])
def test_halving_weights_halve_and_sum_to_one(levels):
    weights = halving(levels)

    assert sum(weights) == pytest.approx(1.0)
    assert all(finer == pytest.approx(2 * coarser) for finer, coarser in pairwise(weights))


def test_halving_is_a_list_in_a_config():
    register_resolvers()
    config = OmegaConf.create({"channels": [4, 8, 8], "weights": "${halving:2}"})

    assert OmegaConf.to_container(config, resolve=True)["weights"] == [2 / 3, 1 / 3]


@pytest.mark.parametrize("levels", [0, "abc", True, 1.5])
def test_no_level_to_weight_is_refused(levels):
    sentence = rf"\$\{{halving:{levels}\}} asks for {levels} weights: deep supervision has at least 1 level"
    with pytest.raises(InputError, match=sentence):
        halving(levels)
