"""What samples take from an earlier stage: where they are placed, and further channels of the image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kidney_lab.data.priors import Priors
from kidney_lab.data.store import Sliceable, StoredCase
from kidney_lab.data.views.roi_source import RoiSource
from kidney_lab.transforms.corrupt_prior import RandCorruptPriord


def one_hot(labels: Tensor, values: Sequence[int]) -> Tensor:
    """Channels of a label map: `(1, ...)` to float32 `(len(values), ...)`, 1 where it has each value."""
    return torch.cat([labels == value for value in values]).to(torch.float32)


@dataclass(frozen=True)
class PriorInput:
    """What the samples of a stage take from the stage before it.

    Args:
        priors: what that stage predicted; None where nothing of it is needed.
        labels: values of which the image gets a channel each, 1 where the prior has that label; none: no channels.
        places: whether samples are placed by the prior; otherwise by the reference.
        reference: whether the channels show the reference instead, which training alone may do.
        corrupt: changes the prior of training samples at random.
    """

    priors: Priors | None
    labels: Sequence[int] = ()
    places: bool = False
    reference: bool = False
    corrupt: RandCorruptPriord | None = None

    def __post_init__(self) -> None:
        if self.priors is None and (self.places or (self.labels and not self.reference)):
            raise ValueError("samples need priors that are not there")

    def roi(self, case: str) -> RoiSource | None:
        """What the case's samples are placed by; None: its reference."""
        return self.priors[case] if self.places and self.priors is not None else None

    def label_map(self, case: str, stored: StoredCase) -> Sliceable | None:
        """Label map that becomes channels; None where there are none.

        Args:
            case: id.
            stored: the case, for its reference.
        """
        if not self.labels:
            return None
        return stored.label if self.reference or self.priors is None else self.priors[case].label

    def join(self, sample: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """Makes channels of a sample's `prior`.

        Args:
            sample: `image` `(C, *shape)` and `prior` `(1, *shape)`, both augmented.
            seed: of the sample.

        Returns:
            The sample with `image` `(C + labels, *shape)`, and without `prior`.
        """
        changed = dict(sample)
        if self.corrupt is not None:
            changed = self.corrupt.set_random_state(seed=seed)(changed)
        prior = changed.pop("prior")
        changed["image"] = torch.cat([changed["image"], one_hot(prior, self.labels).to(changed["image"])])
        return changed
