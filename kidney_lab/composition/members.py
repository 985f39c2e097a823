"""OmegaConf resolvers of `model=transfer_ensemble`: which members it trains, and by which stages."""

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from omegaconf import DictConfig, ListConfig, flag_override

from kidney_lab.errors import InputError

_FOR_ALL: Final = ("none", "imagenet")
"""Values of `model.weights` that serve any encoder."""


def default_members(runs: Collection[Any], encoders: Any) -> ListConfig:
    """Encoders of the members that are trained unless they are named: none beside finished runs.

    Args:
        runs: `model.member_runs`.
        encoders: of an ensemble without such runs.

    Raises:
        InputError: the encoders are no list.
    """
    if not isinstance(encoders, Sequence) or isinstance(encoders, str):
        raise InputError(f"model.encoders={encoders} is no list: give encoders in brackets, such as [resnet50,vgg16].")
    return ListConfig([] if runs else list(encoders))


def target_regions(target: str, regions: Sequence[str]) -> ListConfig:
    """Regions that a network predicts.

    Args:
        target: `model.target`: a region, or `all`.
        regions: names of the dataset's regions.

    Raises:
        InputError: the dataset has no such region.

    >>> target_regions("all", ["kidney_and_mass", "tumor"])
    ['kidney_and_mass', 'tumor']
    """
    if target != "all" and target not in regions:
        raise InputError(f"model.target={target} is unknown: choose one of {', '.join(regions)}, or all.")
    return ListConfig(list(regions) if target == "all" else [target])


def member_stages(members: Any, runs: Collection[Any], weights: Any, template: DictConfig) -> DictConfig:
    """The stages of an ensemble, one for each encoder and named after it.

    Args:
        members: `model.members`, names of encoders.
        runs: `model.member_runs`, finished runs that are members too.
        weights: `model.weights`: `none` or `imagenet` for all, a file for a single member, or a mapping from encoders.
        template: stage whose network and module still lack the encoder's name, and the module its weights.

    Returns:
        A node of stages; none where the finished runs are all.

    Raises:
        InputError: there is no member, one is there twice, or there are no weights for one.
    """
    if not isinstance(members, Sequence) or isinstance(members, str):
        raise InputError(f"model.members={members} is no list: give encoders in brackets, such as [resnet50,vgg16].")
    if not members and not runs:
        raise InputError(
            "model.members=[] and model.member_runs=[] leave no member: name encoders, or the folders of finished runs."
        )
    names = [stage_name(str(encoder)) for encoder in members]
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if twice is not None:
        raise InputError(
            f"model.members names {twice} twice: train one run for each seed, and name these in model.member_runs."
        )
    chosen = _weights_of([str(encoder) for encoder in members], weights)
    stages = {name: _stage(template, str(m), chosen[str(m)]) for name, m in zip(names, members, strict=True)}
    return DictConfig(stages, parent=template._get_parent())


def stage_name(encoder: str) -> str:
    """Name of an encoder's stage.

    >>> stage_name("tu-inception_v3.tv_in1k")
    'inception_v3_tv_in1k'
    """
    return encoder.removeprefix("tu-").replace(".", "_")


def _stage(template: DictConfig, encoder: str, weights: str) -> DictConfig:
    stage, network = copy.deepcopy(template), copy.deepcopy(template.module.network)
    free = ["struct", "readonly"]
    with flag_override(stage, free, False), flag_override(network, free, False):
        network.encoder = encoder
        stage.module.network = network
        stage.module.encoder = encoder
        stage.module.weights = weights
    return stage


def _weights_of(members: Sequence[str], weights: Any) -> Mapping[str, str]:
    """Weights of every member.

    Raises:
        InputError: a member has none, weights have no member, or one file shall serve several.
    """
    if not isinstance(weights, Mapping | DictConfig):
        if len(members) > 1 and weights not in _FOR_ALL:
            listed = ",".join(f"{member}:PATH" for member in members)
            raise InputError(
                f"model.weights={weights} is one file for {len(members)} encoders: give one for each, "
                f"model.weights={{{listed}}}, or choose {' or '.join(_FOR_ALL)}."
            )
        return dict.fromkeys(members, str(weights))
    given = {stage_name(str(encoder)): str(value) for encoder, value in weights.items()}
    wanted = {member: stage_name(member) for member in members}
    missing = [member for member, name in wanted.items() if name not in given]
    surplus = [name for name in given if name not in wanted.values()]
    if missing or surplus:
        wrong = f"has nothing for {missing[0]}" if missing else f"names {surplus[0]}, which is no member"
        raise InputError(
            f"model.weights {wrong}: give none, imagenet or a file for each of model.members, {', '.join(members)}."
        )
    return {member: given[name] for member, name in wanted.items()}
