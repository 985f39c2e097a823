"""What a network's channels mean: one of several labels (softmax), or nested regions (sigmoid).

KiTS scores nested regions, and its winners train on them directly: every region is a binary problem of its own, and the
label map is read off from the outermost region inward. The other reading is the usual softmax over the labels.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from kidney_lab.errors import InputError
from kidney_lab.labels import LABELS, REGIONS


class Output(ABC):
    """Meaning of a network's channels.

    Args:
        labels: names of the dataset's foreground labels.
        regions: names of the dataset's regions.
    """

    def __init__(self, labels: Sequence[str], regions: Sequence[str]) -> None:
        self.labels = tuple(labels)
        self.regions = tuple(regions)

    @property
    @abstractmethod
    def values(self) -> Sequence[int]:
        """Label values that its label maps may hold beside the background."""

    @property
    @abstractmethod
    def channels(self) -> int:
        """Channels of the network."""

    @abstractmethod
    def target(self, label: Tensor) -> Tensor:
        """What the channels should be, as MONAI's losses take it.

        Args:
            label: `(B, 1, D, H, W)`, label values.

        Returns:
            float32 `(B, C, D, H, W)`, 0 or 1.
        """

    @abstractmethod
    def probabilities(self, logits: Tensor) -> Tensor:
        """Probabilities of the channels, same shape as `logits`, float32."""

    @abstractmethod
    def decide(self, probabilities: Tensor) -> Tensor:
        """Label map of probabilities.

        Args:
            probabilities: `(C, ...)`, 0 to 1.

        Returns:
            `(...)`, uint8 label values.
        """


class LabelOutput(Output):
    """Softmax over background and the labels; channel 0 is the background."""

    @property
    def values(self) -> Sequence[int]:
        """The labels' values."""
        return [LABELS[name] for name in self.labels]

    @property
    def channels(self) -> int:
        """The background and every label."""
        return 1 + len(self.labels)

    def target(self, label: Tensor) -> Tensor:
        """The one-hot reference."""
        values = [0, *self.values]
        return torch.cat([label == value for value in values], dim=1).float()

    def probabilities(self, logits: Tensor) -> Tensor:
        """Softmax over channels."""
        return logits.float().softmax(dim=1)

    def decide(self, probabilities: Tensor) -> Tensor:
        """The most probable label; ties go to the background, then to the first label."""
        best = probabilities[0].clone()
        result = torch.zeros_like(best, dtype=torch.uint8)
        # Channel by channel: torch's argmax over the leading axis takes ten times as long on a CPU.
        for channel, name in enumerate(self.labels, start=1):
            better = probabilities[channel] > best
            result[better] = LABELS[name]
            best = torch.maximum(best, probabilities[channel])
        return result


class RegionOutput(Output):
    """One sigmoid per region, outermost first; each region's own label is what no region inside it covers.

    The regions need not be all of a dataset's: a stage may predict the mass alone. Its label map then marks the region
    by its first label (a mass as tumor), so that whoever asks it for the region finds it.
    """

    def __init__(self, labels: Sequence[str], regions: Sequence[str]) -> None:
        super().__init__(labels, regions)
        self.own_labels = own_labels(regions)

    @property
    def values(self) -> Sequence[int]:
        """The regions' own labels."""
        return self.own_labels

    @property
    def channels(self) -> int:
        """Every region."""
        return len(self.regions)

    def target(self, label: Tensor) -> Tensor:
        """A channel for every region; the channels overlap."""
        return torch.cat([region_mask(label, name) for name in self.regions], dim=1).float()

    def probabilities(self, logits: Tensor) -> Tensor:
        """Sigmoid of every channel."""
        return logits.float().sigmoid()

    def decide(self, probabilities: Tensor) -> Tensor:
        """Paints the regions from the outermost to the innermost where they are more probable than not."""
        result = torch.zeros(probabilities.shape[1:], dtype=torch.uint8, device=probabilities.device)
        for channel, value in enumerate(self.own_labels):
            result[probabilities[channel] > 0.5] = value
        return result


def own_labels(regions: Sequence[str]) -> list[int]:
    """The label that remains of each region once the regions after it are painted over it.

    Args:
        regions: nested, outermost first.

    Returns:
        One label value per region: the one that its successor does not hold.

    Raises:
        InputError: there are no regions, one is unknown, or they are not nested from the outermost inward.

    >>> own_labels(["kidney_and_mass", "mass", "tumor"])
    [1, 3, 2]
    >>> own_labels(["kidney_and_mass", "tumor"])
    [1, 2]
    >>> own_labels(["kidney_and_mass", "mass"]), own_labels(["mass"])
    ([1, 2], [2])
    """
    if not regions or not set(regions) <= set(REGIONS):
        raise InputError(f"Regions {list(regions)} are none: choose one or more of {', '.join(REGIONS)}.")
    result = []
    for region, inner in zip(regions, [*regions[1:], None], strict=True):
        inside = REGIONS[inner] if inner is not None else ()
        own = [value for value in REGIONS[region] if value not in inside]
        if not set(inside) <= set(REGIONS[region]) or not own:
            raise InputError(f"model.output=regions needs nested data.regions, outermost first; got {list(regions)}.")
        result.append(own[0])
    return result


def region_mask(labels: Tensor, region: str) -> Tensor:
    """Where a label map holds a region, bool, same shape."""
    first, *others = REGIONS[region]
    mask = labels == first
    for value in others:
        mask = mask | (labels == value)
    return mask


def build_output(kind: str, *, labels: Sequence[str], regions: Sequence[str]) -> Output:
    """The output that `model.output` names.

    Args:
        kind: `labels` or `regions`.
        labels: names of the dataset's foreground labels.
        regions: names of the dataset's regions.

    Returns:
        The output.

    Raises:
        InputError: on any other kind.
    """
    kinds: dict[str, type[Output]] = {"labels": LabelOutput, "regions": RegionOutput}
    if kind not in kinds:
        raise InputError(f"model.output={kind} is unknown: choose one of {', '.join(kinds)}.")
    return kinds[kind](labels, regions)
