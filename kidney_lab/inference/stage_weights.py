"""Weights of a stage as safetensors: a format that holds numbers alone, so that loading them runs no code."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from kidney_lab.errors import InputError
from kidney_lab.files import replacing

WEIGHTS: Final = "model.safetensors"
"""Name of the file in a stage's folder of a bundle; a run has `best.ckpt` in that place."""


def write_weights(path: Path, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Writes weights; the file appears whole or not at all.

    Args:
        path: of the file, `.safetensors`.
        state: by name, as `state_dict` gives them; tensors that share memory are each written.
        metadata: texts that stand in the file's header.
    """
    own = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}
    with replacing(path) as temporary:
        # Not `save_file`: its files are for the eyes of their owner alone.
        temporary.write_bytes(save(own, metadata={"format": "pt", **metadata}))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Reads what `write_weights` wrote.

    Args:
        path: of the file.

    Returns:
        The weights by name, exact to the bit, on the CPU.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        return load_file(path, device="cpu")
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; export the run again.") from error
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} holds no readable weights ({error}); copy or export it again.") from error
