"""Random 3D patches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kidney_lab.data.body import Box
from kidney_lab.data.store import Sliceable, Store, StoredCase
from kidney_lab.data.views.boxes import (
    check_fraction,
    check_label_weights,
    check_margin,
    check_size,
    foreground_corner,
    grow,
    random_corner,
    read_sample,
)
from kidney_lab.data.views.roi_source import RoiSource
from kidney_lab.data.views.window import Corner, Pictured, Window, crop_to_box, whole, window_of
from kidney_lab.errors import InputError
from kidney_lab.geometry import Triple


@dataclass(frozen=True)
class PatchView:
    """Random 3D patches, some of them centred on a labelled voxel.

    Args:
        roi_size: of a patch, `(D, H, W)` voxels.
        samples_per_epoch: patches of an epoch, over all ranks.
        val_samples: patches of the validation loss, the same every time.
        foreground_fraction: share of patches centred on a foreground voxel, 0 to 1.
        label_weights: how often each label is centred on, by name, among those that the case has; labels left out are
            not. None: evenly, so that small tumors are met as often as kidneys.
        within: where the other patches lie: anywhere in the `volume`, or in the `roi`, the box of the reference's
            labels, where there are any.
        margin_mm: around that box.
    """

    spatial_dims: ClassVar[int] = 3
    channels: ClassVar[int] = 1
    quantize: ClassVar[bool] = False

    roi_size: Sequence[int]
    samples_per_epoch: int
    val_samples: int
    foreground_fraction: float
    label_weights: Mapping[str, float] | None = None
    within: Literal["volume", "roi"] = "volume"
    margin_mm: float = 0.0

    def __post_init__(self) -> None:
        check_size("roi_size", self.roi_size, "D, H, W")
        check_fraction("foreground_fraction", self.foreground_fraction)
        check_label_weights(self.label_weights)
        if self.within not in ("volume", "roi"):
            raise InputError(f"view.within={self.within} is unknown: choose volume or roi.")
        check_margin("margin_mm", self.margin_mm)

    def fitted(self, store: Store, cases: Sequence[str]) -> Self:
        """This view: nothing depends on the training cases."""
        return self

    def draw(
        self, case: StoredCase, rng: np.random.Generator, labels: Sequence[int], roi: RoiSource | None = None
    ) -> Triple:
        """Places a patch; it may lie outside the volume by up to half its size. See `View.draw`."""
        if rng.random() < self.foreground_fraction:
            corner = foreground_corner(case, self.roi_size, rng, labels=labels, weights=self.label_weights)
            if corner is not None:
                return corner
        return random_corner(self._place(case, roi or case), self.roi_size, rng)

    def read(
        self, case: Pictured, labels: Sequence[Sliceable], corner: Corner, shape: Sequence[int]
    ) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
        """Reads a box of the store. See `View.read`."""
        return read_sample(case, labels, corner, shape)

    def windows(
        self, shape: Triple, roi: NDArray[np.uint8] | None = None, smallest: Sequence[int] = (1, 1, 1)
    ) -> list[Window]:
        """The whole volume. See `View.windows`."""
        return [window_of(whole(shape), shape, smallest)]

    def place(self, probabilities: Tensor, window: Window, shape: Triple) -> Tensor:
        """The part that lies in the volume. See `View.place`."""
        return crop_to_box(probabilities, window)

    def _place(self, case: StoredCase, roi: RoiSource) -> Box:
        volume = whole(case.shape)
        if self.within == "volume" or roi.foreground_box is None:
            return volume
        d, h, w = (
            slice(max(grown.start, 0), min(grown.stop, axis.stop))
            for grown, axis in zip(grow(roi.foreground_box, self.margin_mm, case.spacing), volume, strict=True)
        )
        return d, h, w
