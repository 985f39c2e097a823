"""OmegaConf resolvers that `conf/` uses: pure functions of other config values."""

import copy
from collections.abc import Collection
from typing import Any

from omegaconf import DictConfig, OmegaConf, flag_override

from kidney_lab.composition.search_path import config_groups
from kidney_lab.errors import InputError


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


def choose(condition: bool, when_true: Any, when_false: Any) -> Any:
    """One of two config values.

    Args:
        condition: which.
        when_true: value or node.
        when_false: value or node.

    Raises:
        InputError: the condition is neither true nor false.
    """
    if not isinstance(condition, bool):
        raise InputError(f"The setting {condition!r} is no switch: give true or false.")
    return when_true if condition else when_false


def prior_channels(cascade: bool, prior: str, labels: Collection[str]) -> int:
    """Input channels of a network that sees the image and, as further channels, an earlier stage's labels.

    Args:
        cascade: whether there is an earlier stage.
        prior: what fills the further channels; `none`: there are none.
        labels: names of the dataset's foreground labels.
    """
    return 1 + (len(labels) if cascade and prior != "none" else 0)


def halving(levels: int) -> list[float]:
    """Weights of the levels of deep supervision, each half of the one before, that sum to 1.

    Args:
        levels: number of levels, the finest first.

    Returns:
        `[2 ** (n - 1), ..., 2, 1]` over their sum, `2 ** n - 1`.

    Raises:
        InputError: `levels` is less than 1.

    >>> halving(2)
    [0.6666666666666666, 0.3333333333333333]
    """
    if levels < 1:
        raise InputError(f"${{halving:{levels}}} asks for {levels} weights: deep supervision has at least 1 level.")
    return [2**level / (2**levels - 1) for level in reversed(range(levels))]


def given(value: Any, default: Any) -> Any:
    """A config value, or another where it is null."""
    chosen = default if value is None else value
    return (
        OmegaConf.create(chosen) if isinstance(chosen, list) else chosen
    )  # nodes are resolved by instantiate, lists not


def contains(values: Collection[Any], value: Any) -> bool:
    """Tells whether a config list holds a value."""
    return value in values


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


def slice_channels(neighbours: int, masks: int = 0) -> int:
    """Input channels of a 2D network: a slice, its neighbours on either side, and masks beside them."""
    return 2 * neighbours + 1 + masks


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


def register_resolvers() -> None:
    """Makes the resolvers known that `conf/` uses, once per process."""
    OmegaConf.register_new_resolver("out_channels", out_channels, replace=True)
    OmegaConf.register_new_resolver("equal", equal, replace=True)
    OmegaConf.register_new_resolver("if", choose, replace=True)
    OmegaConf.register_new_resolver("len", len, replace=True)
    OmegaConf.register_new_resolver("prior_channels", prior_channels, replace=True)
    OmegaConf.register_new_resolver("halving", halving, replace=True)
    OmegaConf.register_new_resolver("given", given, replace=True)
    OmegaConf.register_new_resolver("contains", contains, replace=True)
    OmegaConf.register_new_resolver("with", with_value, replace=True)
    OmegaConf.register_new_resolver("slice_channels", slice_channels, replace=True)
    OmegaConf.register_new_resolver("root", root, replace=True)
    OmegaConf.register_new_resolver("config_groups", config_groups, replace=True)
