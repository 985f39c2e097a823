"""Samples for PyTorch's loaders: those that a view draws, and whole cases."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from kidney_lab.data.kits import Annotation
from kidney_lab.data.priors import Priors
from kidney_lab.data.sampling import SampleKey
from kidney_lab.data.store import Sliceable, Store, StoredCase
from kidney_lab.data.views.prior_input import PriorInput
from kidney_lab.data.views.view import View
from kidney_lab.data.views.window import Corner
from kidney_lab.errors import InputError
from kidney_lab.transforms.augment import Augment

# They set these draws apart from each other and from those of samples, which have no fourth number.
_ANNOTATOR, _ORDER = 7, 11


def normalize(image: Tensor, intensity: Any) -> Tensor:
    """What the network sees of an image: float32, by a MONAI transform from HU, without MONAI's metadata."""
    return torch.as_tensor(intensity(image.float())).as_subclass(Tensor)


def reference_of(case: StoredCase) -> Sliceable:
    """The label map of a case.

    Raises:
        InputError: it has none.
    """
    if case.label is None:
        raise InputError(f"{case.path.name} has no reference segmentation, so nothing can be learned from it.")
    return case.label


class ViewDataset(Dataset[dict[str, Any]]):
    """Samples of a view by `SampleKey`: `image` float32 `(C, *roi_size)`, `label` uint8 `(1, *roi_size)`, and `case`.

    With an augmentation that runs on the device, samples come as they are stored instead: `image` int16, HU, and
    `label`, both of the box that the augmentation needs, and the `seed` of its draw; `finish` does what is left. What
    an earlier stage predicted is read with them (`prior`) and ends as further channels of the image.

    Args:
        store: to read from.
        cases: ids of the cases to draw from; each is drawn equally often.
        view: how samples are placed.
        intensity: MONAI transform from HU to the network's input.
        augment: of training samples, or None.
        labels: foreground labels.
        seed: of the training.
        annotation: whose label map is learned: the `majority`'s, the `first` annotator's, or that of one `sampled` anew
            for every case and epoch.
        prior: what samples take from an earlier stage.
    """

    def __init__(
        self,
        store: Store,
        cases: Sequence[str],
        *,
        view: View,
        intensity: Any,
        augment: Augment | None,
        labels: Sequence[int],
        seed: int,
        annotation: Annotation = "majority",
        prior: PriorInput | None = None,
    ) -> None:
        self.store = store
        self.cases = list(cases)
        self.view = view
        self.intensity = intensity
        self.augment = augment
        self.labels = list(labels)
        self.seed = seed
        self.annotation = annotation
        self.prior = prior

    @property
    def on_device(self) -> bool:
        """Whether samples are finished on the device, batch by batch."""
        return self.augment is not None and self.augment.device == "gpu"

    def __getitem__(self, key: SampleKey) -> dict[str, Any]:
        sample = self.read(key)
        return sample if self.on_device else self.finish(sample)

    def read(self, key: SampleKey) -> dict[str, Any]:
        """Draws a sample and reads it: `image` int16, HU, label maps, `case`, and the `seed` of its augmentation."""
        rng = key.rng(self.seed)
        rounds, place = divmod(key.index, len(self.cases))
        order = np.random.default_rng([self.seed, key.epoch, rounds, _ORDER]).permutation(len(self.cases))
        number = int(order[place])
        case = self.store[self.cases[number]]
        label = self._label(case, key.epoch, number)
        roi = self.prior.roi(self.cases[number]) if self.prior is not None else None
        corner, shape = self.view.draw(case, rng, self.labels, roi), tuple(self.view.roi_size)
        seed = int(rng.integers(2**31))
        if self.augment is not None:
            needed = self.augment.draw(shape, seed)
            corner, shape = _around(corner, shape, needed), needed
        prior = self.prior.label_map(self.cases[number], case) if self.prior is not None else None
        image, maps = self.view.read(case, [label] if prior is None else [label, prior], corner, shape)
        arrays = {"image": image, "label": maps[:1], **({} if prior is None else {"prior": maps[1:]})}
        tensors = {key: torch.from_numpy(np.ascontiguousarray(array)) for key, array in arrays.items()}
        return {**tensors, "case": self.cases[number], "seed": seed}

    def finish(self, sample: dict[str, Any]) -> dict[str, Any]:
        """Normalises and augments a sample just read, on whatever device it is."""
        finished = {key: value for key, value in sample.items() if key != "seed"}
        finished["image"] = normalize(sample["image"], self.intensity)
        if self.augment is not None:
            finished = self.augment(finished)
        if self.prior is not None and "prior" in finished:
            finished = self.prior.join(finished, sample["seed"])
        return finished

    def finish_again(self, sample: dict[str, Any]) -> dict[str, Any]:
        """`finish` for a sample that was read before others, or in another process."""
        if self.augment is not None:
            self.augment.draw(self.view.roi_size, sample["seed"])
        return self.finish(sample)

    def _label(self, case: StoredCase, epoch: int, number: int) -> Sliceable:
        reference = reference_of(case)
        if self.annotation == "majority":
            return reference
        drawn = case.annotations
        if not drawn:
            raise InputError(
                f"{case.path} has no label maps of single annotators: run task=prepare with "
                f"data.annotation={self.annotation}, or choose data.annotation=majority."
            )
        if self.annotation == "first":
            return drawn[0]
        chosen = np.random.default_rng([self.seed, epoch, number, _ANNOTATOR]).integers(len(drawn))
        return drawn[chosen]


def _around(corner: Corner, shape: Sequence[int], needed: Sequence[int]) -> Corner:
    """Where a larger box about the same middle begins; slices keep their index."""
    reach = [(n - s) // 2 for n, s in zip(needed, shape, strict=True)]
    moved = (c - r for c, r in zip(corner[:3], [0] * (3 - len(reach)) + reach, strict=True))
    return *moved, *corner[3:]


class WholeCaseDataset(Dataset[dict[str, Any]]):
    """Whole prepared cases, for validation: `image` int16, HU, and `label`, both `(1, D, H, W)`, and `case`.

    Args:
        store: to read from.
        cases: ids.
        priors: what an earlier stage predicted, given as `prior` `(1, D, H, W)`.
    """

    def __init__(self, store: Store, cases: Sequence[str], *, priors: Priors | None = None) -> None:
        self.store = store
        self.cases = list(cases)
        self.priors = priors

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> dict[str, Any]:
        case = self.store[self.cases[index]]
        image, label = torch.from_numpy(case.image[...])[None], torch.from_numpy(reference_of(case)[...])[None]
        item = {"image": image, "label": label, "case": self.cases[index]}
        if self.priors is not None:
            item["prior"] = torch.from_numpy(self.priors[self.cases[index]].label[...])[None]
        return item
