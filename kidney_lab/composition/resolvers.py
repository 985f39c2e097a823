"""OmegaConf resolvers that `conf/` uses: pure functions of other config values."""

import copy
from collections.abc import Collection, Mapping
from typing import Any, Final

from omegaconf import Container, DictConfig, ListConfig, OmegaConf, flag_override

from kidney_lab.composition.members import default_members, member_stages, target_regions
from kidney_lab.composition.search_path import config_groups
from kidney_lab.errors import InputError
from kidney_lab.numbers import is_whole

PRIORS: Final = ("predicted", "out_of_fold", "reference", "none")
"""What may fill the channels of an earlier stage, see `kidney_lab.methods.earlier.Earlier`."""


def out_channels(output: str, labels: Collection[str], regions: Collection[str]) -> int:
    """Number of channels that a network must end in.

    Args:
        output: `labels` (softmax over background and every label) or `regions` (one sigmoid per region).
        labels: names of the dataset's foreground labels.
        regions: names of the dataset's regions.

    Returns:
        The number of channels.

    Raises:
        InputError: on any other `output`.
    """
    if output == "labels":
        return 1 + len(labels)
    if output == "regions":
        return len(regions)
    raise InputError(f"model.output={output} is unknown: choose labels or regions.")


def equal(left: Any, right: Any) -> bool:
    """Tells whether two config values are equal."""
    return bool(left == right)


def choose(key: str, when_true: Any, when_false: Any, *, _root_: Container) -> Any:
    """One of two config values.

    Args:
        key: of the switch that decides, such as `model.cascade`; by its name, so that a wrong value can be told.
        when_true: value or node.
        when_false: value or node.
        _root_: the whole configuration, which OmegaConf hands over.

    Raises:
        InputError: the switch is neither true nor false.
    """
    return when_true if _switch(key, OmegaConf.select(_root_, key)) else when_false


def pick(key: str, options: Mapping[str, Any], *, _root_: Container) -> Any:
    """The one of several config values that a setting names.

    Args:
        key: of the setting, such as `model.decoder`; by its name, so that a wrong value can be told.
        options: values or nodes by the setting's values.
        _root_: the whole configuration, which OmegaConf hands over.

    Raises:
        InputError: the setting names none of them.
    """
    value = OmegaConf.select(_root_, key)
    if value not in options:
        raise InputError(f"{key}={value} is unknown: choose one of {', '.join(options)}.")
    return _node(options[value])


def prior_channels(cascade: bool, prior: str, labels: Collection[str]) -> int:
    """Input channels of a network that sees the image and, as further channels, an earlier stage's labels.

    Args:
        cascade: `model.cascade`, whether there is an earlier stage.
        prior: `model.prior`, what fills the further channels; `none`: there are none.
        labels: names of the labels that the network sees.

    Raises:
        InputError: `cascade` is neither true nor false, or `prior` unknown, with or without an earlier stage.
    """
    if prior not in PRIORS:
        raise InputError(f"model.prior={prior} is unknown: choose one of {', '.join(PRIORS)}.")
    return 1 + (len(labels) if _switch("model.cascade", cascade) and prior != "none" else 0)


def halving(levels: int) -> list[float]:
    """Weights of the levels of deep supervision, each half of the one before, that sum to 1.

    Args:
        levels: number of levels, the finest first.

    Returns:
        `[2 ** (n - 1), ..., 2, 1]` over their sum, `2 ** n - 1`.

    Raises:
        InputError: `levels` is no whole number from 1 on.

    >>> halving(2)
    [0.6666666666666666, 0.3333333333333333]
    """
    if not is_whole(levels) or levels < 1:
        raise InputError(f"${{halving:{levels}}} asks for {levels} weights: deep supervision has at least 1 level.")
    return [2**level / (2**levels - 1) for level in reversed(range(levels))]


def select(key: str, default: Any, *, _root_: Container) -> Any:
    """A config value where there is such a key, null included; else another.

    Args:
        key: dotted.
        default: value where there is no such key.
        _root_: the whole configuration, which OmegaConf hands over.
    """
    return _node(OmegaConf.select(_root_, key, default=default))


def contains(values: Collection[Any], value: Any) -> bool:
    """Tells whether a config list holds a value."""
    return value in values


def doubling(key: str, levels: int, *, _root_: Container) -> ListConfig:
    """Channels of a network's levels, each twice those of the one before.

    Args:
        key: of the channels of the finest level, such as `model.base_channels`; by its name, so that a wrong value can
            be told.
        levels: number of levels.
        _root_: the whole configuration, which OmegaConf hands over.

    Raises:
        InputError: the channels are no whole number from 1 on.

    >>> doubling("base", 3, _root_=OmegaConf.create({"base": 32}))
    [32, 64, 128]
    """
    first = OmegaConf.select(_root_, key)
    if not is_whole(first) or first < 1:
        raise InputError(f"{key}={first} is no count: give a whole number of at least 1.")
    return ListConfig([first * 2**level for level in range(levels)])  # instantiate resolves nodes, and no lists


def by_class(values: Mapping[str, float], labels: Collection[str]) -> ListConfig:
    """Values of the channels of a softmax: the background's, then that of every label.

    Args:
        values: by name, `background` among them.
        labels: names of the dataset's foreground labels.

    Raises:
        InputError: a label has no value.

    >>> by_class({"background": 0.2, "kidney": 0.8, "tumor": 1.5}, ["tumor"])
    [0.2, 1.5]
    """
    missing = [label for label in labels if label not in values]
    if missing:
        raise InputError(
            f"${{by_class:…}} has no value for the label {missing[0]} of data.labels: add it, or write the list of the "
            "background's and every label's."
        )
    return ListConfig([values[name] for name in ("background", *labels)])


def with_value(node: DictConfig, key: str, value: Any) -> DictConfig:
    """A copy of a config node with another value.

    Args:
        node: such as `${view}`; it is not changed.
        key: of the value; where the node lacks it, whatever the node composes is left as it is.
        value: the other one.
    """
    changed = copy.deepcopy(node)
    if key in changed:
        with flag_override(changed, ["struct", "readonly"], False):
            changed[key] = value
    return changed


def slice_channels(neighbours: int, masks: int = 0, copies: int = 1) -> int:
    """Input channels of a 2D network: a slice and its neighbours on either side, copies of these, and masks beside."""
    return (2 * neighbours + 1) * copies + masks


def root(value: float, degree: int) -> float:
    """The `degree`-th root: a factor that multiplies to `value` over so many steps.

    Raises:
        InputError: there is no such root.

    >>> root(0.25, 2)
    0.5
    """
    if value <= 0 or degree < 1:
        raise InputError(f"${{root:{value},{degree}}} has no value: give a number above 0 and a degree of 1 or more.")
    return float(value ** (1 / degree))


def shares_of(number: int, shares: Collection[float]) -> ListConfig:
    """Shares of a number, such as of the epochs, as whole numbers.

    >>> shares_of(50, [0.6, 0.85])
    [30, 42]
    """
    return ListConfig([int(number * share) for share in shares])  # instantiate resolves nodes, and no lists


def _node(value: Any) -> Any:
    """A value as a config node: instantiate resolves the interpolations of nodes, and of no list."""
    return OmegaConf.create(value) if isinstance(value, list) else value


def _switch(key: str, value: Any) -> bool:
    """A value that is either true or false; any text would count as true, `no` and `off` too."""
    if not isinstance(value, bool):
        raise InputError(f"{key}={value} is no switch: give true or false.")
    return value


def taking_turns(strategy: Any) -> Any:
    """Lightning's strategy for networks that are trained in turn, so that a backward pass reaches one of them alone.

    Args:
        strategy: of the trainer.

    >>> taking_turns("ddp"), taking_turns("auto")
    ('ddp_find_unused_parameters_true', 'auto')
    """
    return "ddp_find_unused_parameters_true" if strategy == "ddp" else strategy


def register_resolvers() -> None:
    """Makes the resolvers known that `conf/` uses, once per process."""
    OmegaConf.register_new_resolver("out_channels", out_channels, replace=True)
    OmegaConf.register_new_resolver("equal", equal, replace=True)
    OmegaConf.register_new_resolver("if", choose, replace=True)
    OmegaConf.register_new_resolver("len", len, replace=True)
    OmegaConf.register_new_resolver("prior_channels", prior_channels, replace=True)
    OmegaConf.register_new_resolver("halving", halving, replace=True)
    OmegaConf.register_new_resolver("select", select, replace=True)
    OmegaConf.register_new_resolver("contains", contains, replace=True)
    OmegaConf.register_new_resolver("doubling", doubling, replace=True)
    OmegaConf.register_new_resolver("by_class", by_class, replace=True)
    OmegaConf.register_new_resolver("with", with_value, replace=True)
    OmegaConf.register_new_resolver("slice_channels", slice_channels, replace=True)
    OmegaConf.register_new_resolver("taking_turns", taking_turns, replace=True)
    OmegaConf.register_new_resolver("root", root, replace=True)
    OmegaConf.register_new_resolver("shares_of", shares_of, replace=True)
    OmegaConf.register_new_resolver("pick", pick, replace=True)
    OmegaConf.register_new_resolver("default_members", default_members, replace=True)
    OmegaConf.register_new_resolver("target_regions", target_regions, replace=True)
    OmegaConf.register_new_resolver("member_stages", member_stages, replace=True)
    OmegaConf.register_new_resolver("config_groups", config_groups, replace=True)
