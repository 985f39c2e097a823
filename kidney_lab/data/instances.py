"""Instances of a slice: what a detector learns to find, taken from a label map.

Xue et al. (ERNet), Traitement du Signal 42(4), 2025, sections 3.1 and 4.1, detects kidneys and tumors, the tumor being
part of the kidney, and leaves open what one object is. Chosen: an 8-connected component on the slice, so that the left
and the right kidney are two; components of fewer than `min_pixels` pixels are left out, 16 of slices of 512 x 512.

Pixel `i` reaches from `i - 0.5` to `i + 0.5`, which is how the RoI Align of torchvision's detectors reads a slice: so
`kidney_lab.networks.slice_rois.paste` brings masks back to the pixels that they came from.
"""

from collections.abc import Sequence
from typing import Final

import cc3d
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kidney_lab.labels import REGIONS

DETECTED: Final = ("kidney_and_mass", "tumor")
"""Region of each class of a detector, from class 1; 0 is the background."""


def slice_instances(
    label: NDArray[np.uint8], *, regions: Sequence[str] = DETECTED, min_pixels: int = 16
) -> dict[str, Tensor]:
    """Finds the instances of a slice as torchvision's detectors take them.

    Args:
        label: `(H, W)`, label values.
        regions: of the classes, from class 1.
        min_pixels: components (8-connected) of fewer pixels are left out.

    Returns:
        `boxes` float32 `(N, 4)`: outer edges `(x0, y0, x1, y1)` in pixels, x along W, 0 or more; `labels` int64 `(N,)`;
        `masks` uint8 `(N, H, W)`. N may be 0.
    """
    masks: list[NDArray[np.bool_]] = []
    labels: list[int] = []
    for number, region in enumerate(regions, start=1):
        found = _components(np.isin(label, REGIONS[region]), min_pixels)
        masks += found
        labels += [number] * len(found)
    stacked = np.stack(masks) if masks else np.zeros((0, *label.shape), np.bool_)
    return {
        "boxes": torch.tensor([_box(mask) for mask in masks], dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.int64),
        "masks": torch.from_numpy(stacked.astype(np.uint8)),
    }


def batch_instances(label: Tensor, *, min_pixels: int = 16) -> list[dict[str, Tensor]]:
    """`slice_instances` of every slice of a batch, on the batch's device.

    Args:
        label: `(B, 1, H, W)`, label values.
        min_pixels: see `slice_instances`.

    Returns:
        Instances of each slice.
    """
    slices = label[:, 0].to("cpu", torch.uint8).numpy()
    found = [slice_instances(one, min_pixels=min_pixels) for one in slices]
    return [{name: tensor.to(label.device) for name, tensor in one.items()} for one in found]


def _components(mask: NDArray[np.bool_], min_pixels: int) -> list[NDArray[np.bool_]]:
    numbers, n = cc3d.connected_components(mask.astype(np.uint8), connectivity=8, return_N=True)
    sizes = np.bincount(numbers.ravel(), minlength=n + 1)
    return [numbers == number for number in range(1, n + 1) if sizes[number] >= min_pixels]


def _box(mask: NDArray[np.bool_]) -> list[float]:
    ends = [np.flatnonzero(mask.any(axis=axis))[[0, -1]] for axis in (0, 1)]  # along W, along H
    return [max(float(first) - 0.5, 0.0) for first, _ in ends] + [float(last) + 0.5 for _, last in ends]
