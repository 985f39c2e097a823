"""Mistakes in what an earlier stage predicted, so that a later stage learns not to trust it blindly.

What nnU-Net's cascade does in training to the segmentation of its first stage (Isensee et al., nnU-Net, Nature Methods
18, 2021, doi:10.1038/s41592-020-01008-z; probabilities and ranges are those of nnunetv2 2.x with batchgeneratorsv2):
labels grow, shrink, lose thin parts or close gaps, and small components vanish. There the labels are channels of their
own; on one label map, where they exclude each other, the same steps give the same result.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import cc3d
import numpy as np
import torch
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import convert_to_tensor
from torch import Tensor

from kidney_lab.errors import InputError
from kidney_lab.transforms.arguments import share


class RandCorruptPriord(RandomizableTransform, MapTransform):
    """Changes the labels of a map `(1, D, H, W)` or `(1, H, W)` at random; background is 0, any other value a label.

    Two steps, each drawn for the sample and then for every label in it, in random order. First morphology: one of
    dilation, erosion, opening and closing by a ball, all equally likely. A voxel that a label wins is taken from the
    label that had it, so that a later one paints over an earlier one; a voxel that it loses becomes background. Then
    one of the label's components (26-connected, in slices 8-connected) that are small enough becomes background. Where
    the patch ends, labels are neither worn away nor filled up.

    Args:
        keys: label maps to change, of integer type.
        morphology_prob: of a sample to go through the first step, 0 to 1.
        component_prob: of a sample to go through the second, 0 to 1.
        label_prob: of each of its labels to be changed by a step, 0 to 1.
        radius_range: (smallest, largest) radius of the ball in voxels of the patch, drawn evenly.
        max_component_share: of the patch's voxels; a component that has as many or more does not vanish.
        allow_missing_keys: skip keys that a sample lacks.

    Raises:
        InputError: if a probability or share lies outside 0 to 1, or the radii are in the wrong order or not over 0.
    """

    def __init__(
        self,
        keys: str | Sequence[str] = "prior",
        *,
        morphology_prob: float = 0.4,
        component_prob: float = 0.2,
        label_prob: float = 0.5,
        radius_range: Sequence[float] = (1.0, 8.0),
        max_component_share: float = 0.15,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob=1.0)
        self.morphology_prob = share("morphology_prob", morphology_prob, group="corrupt")
        self.component_prob = share("component_prob", component_prob, group="corrupt")
        self.label_prob = share("label_prob", label_prob, group="corrupt")
        self.radius_range = _radii(radius_range)
        self.max_component_share = share("max_component_share", max_component_share, group="corrupt")

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a copy of the sample with changed label maps, of the same type and on the same device."""
        sample = dict(data)
        for key in self.key_iterator(sample):
            sample[key] = self._changed(convert_to_tensor(sample[key]))
        return sample

    def _changed(self, labels: Tensor) -> Tensor:
        if self.R.random_sample() < self.morphology_prob:
            for label in self._drawn_labels(labels):
                operation = OPERATIONS[self.R.randint(len(OPERATIONS))]
                labels = repaint(labels, label, operation((labels == label)[0], self.R.uniform(*self.radius_range)))
        if self.R.random_sample() < self.component_prob:
            for label in self._drawn_labels(labels):
                labels = drop_component(labels, label, max_share=self.max_component_share, rng=self.R)
        return labels

    def _drawn_labels(self, labels: Tensor) -> list[int]:
        present = [label for label in torch.unique(labels).tolist() if label != 0]
        return [label for label in self.R.permutation(present).tolist() if self.R.random_sample() < self.label_prob]


def dilate(mask: Tensor, radius: float) -> Tensor:
    """Dilates a mask by a ball: every voxel at most `radius` voxels away from it is in.

    Squared distances up to the square of the radius are found axis by axis (Felzenszwalb & Huttenlocher, Theory of
    Computing 8, 2012, section 3): exact, and for such radii ten times as fast as a distance transform of the whole.

    Args:
        mask: bool, any number of axes; beyond it lies nothing.
        radius: in voxels, above 0.

    Returns:
        A mask of the same shape.
    """
    reach, beyond = int(radius), int(radius * radius) + 1
    squared = torch.where(mask, 0, beyond).to(torch.uint8 if 2 * beyond < 256 else torch.int32)
    for axis, length in enumerate(mask.shape):
        nearest = squared.clone()
        for step in range(1, min(reach, length - 1) + 1):
            rest = length - step
            for here, there in ((0, step), (step, 0)):
                part = nearest.narrow(axis, here, rest)
                torch.minimum(part, squared.narrow(axis, there, rest) + step * step, out=part)
        squared = nearest
    return squared < beyond


def erode(mask: Tensor, radius: float) -> Tensor:
    """Erodes a mask by a ball, see `dilate`: what lies at most `radius` voxels away from the background is out."""
    return ~dilate(~mask, radius)


def opened(mask: Tensor, radius: float) -> Tensor:
    """Erodes a mask, then dilates it: parts thinner than the ball vanish."""
    return dilate(erode(mask, radius), radius)


def closed(mask: Tensor, radius: float) -> Tensor:
    """Dilates a mask, then erodes it: gaps thinner than the ball are filled."""
    return erode(dilate(mask, radius), radius)


OPERATIONS: Final[Sequence[Callable[[Tensor, float], Tensor]]] = (dilate, erode, opened, closed)


def repaint(labels: Tensor, label: int, mask: Tensor) -> Tensor:
    """Gives a label a new mask: voxels that it wins are taken from other labels, those that it loses are background."""
    return torch.where(mask, label, torch.where(labels == label, 0, labels)).to(labels.dtype)


def drop_component(labels: Tensor, label: int, *, max_share: float, rng: np.random.RandomState) -> Tensor:
    """Makes background of one random component of a label.

    Args:
        labels: `(1, D, H, W)` or `(1, H, W)`.
        label: whose components may vanish.
        max_share: of all voxels; components that have as many or more stay.
        rng: to draw from.

    Returns:
        The new label map; the same one where no component is small enough.
    """
    mask = (labels == label)[0].cpu().numpy()
    components = cc3d.connected_components(mask.view(np.uint8), connectivity=8 if mask.ndim == 2 else 26)
    voxels = cc3d.statistics(components)["voxel_counts"]
    voxels[0] = 0  # the background
    small = np.flatnonzero((voxels > 0) & (voxels < max_share * mask.size))
    if not len(small):
        return labels
    dropped = torch.from_numpy(components == rng.choice(small)).to(labels.device)
    return labels.masked_fill(dropped, 0)


def _radii(value: Sequence[float]) -> tuple[float, float]:
    try:
        low, high = (float(radius) for radius in value)
    except (TypeError, ValueError):
        low, high = 0.0, 0.0
    if not 0 < low <= high < np.inf:
        raise InputError(
            f"corrupt: radius_range={value} (model.prior_radius) must be (smallest, largest) radius in voxels, both "
            "over 0, such as [1, 8]."
        )
    return low, high
