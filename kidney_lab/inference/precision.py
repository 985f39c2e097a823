"""Which floating-point precision a device computes in."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from kidney_lab.errors import InputError

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


def choose_precision(precision: str, device: torch.device) -> str:
    """Lightning's name of the precision that `auto` stands for.

    Args:
        precision: `auto`, or one of Lightning's names, which is returned as it is.
        device: to compute on.

    Returns:
        `bf16-mixed` where the device multiplies bfloat16 in hardware (CUDA from Ampere on; CPUs with AMX or
        AVX512-BF16), else `16-mixed` on a GPU and `32-true` on a CPU.

    Raises:
        InputError: on any other name.
    """
    if precision != "auto":
        if precision not in PRECISIONS:
            raise InputError(f"trainer.precision={precision} is unknown: choose one of auto, {', '.join(PRECISIONS)}.")
        return precision
    if device.type == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    capabilities = cpu_capabilities() if device.type == "cpu" else {}
    fast = capabilities.get("amx_bf16") or capabilities.get("avx512_bf16")
    return "bf16-mixed" if fast else "32-true"


def precision_to_predict_in(precision: str, *, trained: str, device: torch.device) -> str:
    """Lightning's name of the precision that a trained network predicts in.

    A CPU that cannot multiply bfloat16 emulates it, at a multiple of the time: there a network that was trained in
    bfloat16 predicts in float32, which holds the same numbers more exactly.

    Args:
        precision: `trained` (that of the training), `auto` (see `choose_precision`), or one of Lightning's names.
        trained: Lightning's name of the training's.
        device: to compute on.

    Returns:
        Lightning's name.

    Raises:
        InputError: on any other name.
    """
    if precision == "trained":
        slow = trained == "bf16-mixed" and device.type == "cpu" and choose_precision("auto", device) == "32-true"
        return "32-true" if slow else trained
    if precision not in ("auto", *PRECISIONS):
        raise InputError(
            f"inference.precision={precision} is unknown: choose one of trained, auto, {', '.join(PRECISIONS)}."
        )
    return choose_precision(precision, device)


def cpu_capabilities() -> dict[str, Any]:
    """Instruction sets and name of the CPU; empty where torch is too old to tell."""
    tell = getattr(torch.cpu, "get_capabilities", None)
    return dict(tell()) if tell is not None else {}


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The context in which a network trained in a precision also predicts.

    Args:
        precision: Lightning's name.
        device: to compute on; a CPU computes what was trained in float16 in float32, which it is faster at.

    Returns:
        A context manager.
    """
    if precision == "bf16-mixed":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    if precision == "16-mixed" and device.type != "cpu":
        return torch.autocast(device.type, dtype=torch.float16)
    return nullcontext()
