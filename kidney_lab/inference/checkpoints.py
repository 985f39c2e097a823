"""Weights out of torch's files, which are pickles and could hold code: it does not run."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from kidney_lab.errors import InputError


def read_checkpoint(path: Path) -> Mapping[str, Tensor]:
    """Weights out of a checkpoint of a training; code that is pickled in it does not run.

    Args:
        path: of the file.

    Returns:
        The module's weights by name, on the CPU.

    Raises:
        InputError: the file holds anything but weights, or is damaged.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        weights = weights_by_name(state["state_dict"])
    except (UnpicklingError, RuntimeError, EOFError, OSError, LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is no checkpoint of weights alone, so that nothing of it is loaded: copy it from the training "
            "again, and trust no file that needs more."
        ) from error
    return weights


def weights_by_name(state: Any) -> Mapping[str, Tensor]:
    """A module's weights, if that is what something is.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"a {type(state).__name__} holds no weights by name")
    for name, value in state.items():
        if not (isinstance(name, str) and isinstance(value, Tensor)):
            raise TypeError(f"{name!r} is no name of a tensor")
    return state


@contextmanager
def weights_alone() -> Iterator[None]:
    """Lets every file of torch that is read meanwhile, whoever reads it, give weights and run no code.

    Networks may read a file that their arguments name, as timm's do by `checkpoint_path`, and not all are as careful.
    """
    names = ("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    os.environ[names[0]] = "1"
    try:
        yield
    finally:
        del os.environ[names[0]]
        os.environ.update(before)
