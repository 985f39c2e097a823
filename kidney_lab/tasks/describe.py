"""What a run is told to have been done with: device and data."""

from typing import Any

import torch

from kidney_lab.data.dataset import Dataset
from kidney_lab.inference.precision import cpu_capabilities


def device_of(accelerator: str) -> str:
    """Name of the device that stands for one of Lightning's accelerators, as `load_method` takes it.

    >>> device_of("gpu"), device_of("cpu"), device_of("auto")
    ('cuda', 'cpu', 'auto')
    """
    return {"gpu": "cuda", "auto": "auto"}.get(accelerator, accelerator)


def describe_device(device: torch.device) -> str:
    """Name of the hardware, for the record beside a result."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{cpu_capabilities().get('cpu_name', 'CPU')}, {torch.get_num_threads()} threads"


def describe_data(dataset: Dataset) -> dict[str, Any]:
    """What `run.json` says of the data."""
    split = dataset.split
    return {
        "name": dataset.name,
        "root": str(dataset.root),
        "synthesized": dataset.synthesized,
        "n_train": len(split.train),
        "n_val": len(split.val),
        "n_test": len(split.test),
        "split": split.name,
        "fold": split.fold,
        "split_hash": split.hash,
        "scored": split.scored,
        "exclude": list(split.exclude),
        "excluded": list(split.excluded),
        "annotation": dataset.annotation,
    }
