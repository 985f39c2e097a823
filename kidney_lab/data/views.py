"""Views: how training samples are read out of the store."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from kidney_lab.data.sampling import SampleKey
from kidney_lab.data.store import Sliceable, Store, StoredCase
from kidney_lab.errors import InputError
from kidney_lab.geometry import Triple

AIR_HU = -1000


@dataclass(frozen=True)
class PatchView:
    """Random 3D patches.

    Args:
        roi_size: of a patch, `(D, H, W)` voxels.
        samples_per_epoch: patches of an epoch, over all ranks.
        val_samples: patches of the validation loss, the same every time.
        foreground_fraction: share of patches centred on a foreground voxel, 0 to 1; its label is drawn evenly among
            those that the case has, so that small tumors are met as often as kidneys.
    """

    roi_size: Sequence[int]
    samples_per_epoch: int
    val_samples: int
    foreground_fraction: float

    def corner(self, case: StoredCase, rng: np.random.Generator, labels: Sequence[int]) -> Triple:
        """Draws the first voxel of a patch; it may lie outside the volume by up to half a patch.

        Args:
            case: to draw from.
            rng: of the sample.
            labels: foreground labels to centre on.

        Returns:
            The corner `(d, h, w)`.
        """
        size = np.asarray(self.roi_size)
        if rng.random() < self.foreground_fraction:
            present = [voxels for label in labels if len(voxels := case.foreground(label))]
            if present:
                voxels = present[rng.integers(len(present))]
                d, h, w = voxels[rng.integers(len(voxels))] - size // 2
                return int(d), int(h), int(w)
        # A volume smaller than the patch is placed anywhere inside it.
        room = np.asarray(case.shape) - size
        d, h, w = rng.integers(np.minimum(room, 0), np.maximum(room, 0) + 1)
        return int(d), int(h), int(w)


def read_patch(array: Any, corner: Sequence[int], roi_size: Sequence[int], fill: int) -> NDArray[Any]:
    """Reads a box that may reach beyond a stored array.

    Args:
        array: sliceable `(D, H, W)`; only the box is decoded.
        corner: first voxel of the box, possibly negative.
        roi_size: shape of the box.
        fill: value outside the array.

    Returns:
        An array of shape `roi_size`.
    """
    low = [max(0, c) for c in corner]
    high = [min(n, c + s) for n, c, s in zip(array.shape, corner, roi_size, strict=True)]
    if any(a >= b for a, b in zip(low, high, strict=True)):
        return np.full(tuple(roi_size), fill, dtype=array.dtype)
    inside = array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    pad = [(a - c, c + s - b) for a, b, c, s in zip(low, high, corner, roi_size, strict=True)]
    return np.pad(inside, pad, constant_values=fill)


def to_sample(image: NDArray[Any], label: NDArray[Any], intensity: Any) -> dict[str, Tensor]:
    """A sample as the networks take it: `image` float32 and `label` uint8, both `(1, D, H, W)`."""
    return {
        "image": intensity(torch.from_numpy(image.astype(np.float32))[None]),
        "label": torch.from_numpy(np.ascontiguousarray(label))[None],
    }


def plain(sample: dict[str, Any]) -> dict[str, Tensor]:
    """Strips MONAI's metadata, which neither collating nor the training step needs."""
    return {key: torch.as_tensor(value).as_subclass(Tensor) for key, value in sample.items()}


def _label_of(case: StoredCase) -> Sliceable:
    if case.label is None:
        raise InputError(f"{case.path.name} has no reference segmentation, so nothing can be learned from it.")
    return case.label


class PatchDataset(Dataset[dict[str, Tensor]]):
    """Augmented patches by `SampleKey`.

    Args:
        store: to read from.
        cases: ids of the cases to draw from; each is drawn equally often.
        view: how patches are placed.
        intensity: MONAI transform from HU to the network's input.
        augment: MONAI dictionary transform over `image` and `label`, or None.
        labels: foreground labels to centre on.
        seed: of the training.
    """

    def __init__(
        self,
        store: Store,
        cases: Sequence[str],
        *,
        view: PatchView,
        intensity: Any,
        augment: Compose | None,
        labels: Sequence[int],
        seed: int,
    ) -> None:
        self.store = store
        self.cases = list(cases)
        self.view = view
        self.intensity = intensity
        self.augment = augment
        self.labels = list(labels)
        self.seed = seed

    def __getitem__(self, key: SampleKey) -> dict[str, Tensor]:
        rng = key.rng(self.seed)
        rounds, place = divmod(key.index, len(self.cases))
        order = np.random.default_rng([self.seed, key.epoch, rounds]).permutation(len(self.cases))
        case = self.store[self.cases[order[place]]]
        corner = self.view.corner(case, rng, self.labels)
        sample = to_sample(
            read_patch(case.image, corner, self.view.roi_size, AIR_HU),
            read_patch(_label_of(case), corner, self.view.roi_size, 0),
            self.intensity,
        )
        if self.augment is not None:
            self.augment.set_random_state(seed=int(rng.integers(2**31)))
            sample = self.augment(sample)
        return plain(sample)


class WholeCaseDataset(Dataset[dict[str, Any]]):
    """Whole prepared cases, for validation: `image`, `label` and `case`.

    Args:
        store: to read from.
        cases: ids.
        intensity: MONAI transform from HU to the network's input.
    """

    def __init__(self, store: Store, cases: Sequence[str], *, intensity: Any) -> None:
        self.store = store
        self.cases = list(cases)
        self.intensity = intensity

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> dict[str, Any]:
        case = self.store[self.cases[index]]
        sample = plain(to_sample(case.image[...], _label_of(case)[...], self.intensity))
        return {**sample, "case": self.cases[index]}
