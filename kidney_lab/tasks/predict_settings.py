"""What the configuration of `task=predict` gives, before anything is made of it."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from kidney_lab.composition.messages import to_plain
from kidney_lab.errors import InputError


def settings_at(config: DictConfig, key: str) -> dict[str, Any]:
    """What a node of the configuration gives; null counts as not given.

    Raises:
        InputError: it is no node.
    """
    node = config[key]
    if not isinstance(node, DictConfig):
        node = "null" if node is None else node
        example = {"predict": "predict.overlay=false", "inference": "inference.skip_air=false"}[key]
        raise InputError(f"{key}={node} holds no settings: give single ones, as {example}, or none.")
    return {str(name): value for name, value in to_plain(node).items() if value is not None}


def path_at(config: DictConfig, key: str) -> Path:
    """A path of the configuration.

    Raises:
        InputError: it is empty.
    """
    value = config[key]
    if value is None or value == "":
        what = {"input": "the scans to segment", "output": "a folder, or a .nii.gz for a single scan"}[key]
        raise InputError(f"{key}= is empty: name {what}.")
    return Path(str(value))
