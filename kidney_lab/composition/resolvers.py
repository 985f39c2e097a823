"""OmegaConf resolvers that `conf/` uses: pure functions of other config values."""

from collections.abc import Collection
from typing import Any

from omegaconf import OmegaConf

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


def register_resolvers() -> None:
    """Makes `${out_channels:…}`, `${equal:…}` and `${config_groups:}` known, once per process."""
    OmegaConf.register_new_resolver("out_channels", out_channels, replace=True)
    OmegaConf.register_new_resolver("equal", equal, replace=True)
    OmegaConf.register_new_resolver("config_groups", config_groups, replace=True)
