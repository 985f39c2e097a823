"""Boxes of one fixed size around the region of interest, centred on each case's reference.

Hao (master's thesis, Melbourne 2024, section 3.4) crops every case to a box of one size that holds the kidneys and
tumors of every training case. The centre comes from the reference, which training alone may see: at inference the
centre is what an earlier stage predicts.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from kidney_lab.data.body import Box
from kidney_lab.data.store import Sliceable, Store, StoredCase
from kidney_lab.data.views.boxes import (
    check_count,
    check_fraction,
    check_label_weights,
    check_margin,
    check_size,
    foreground_corner,
    grow,
    random_corner,
    read_sample,
)
from kidney_lab.errors import InputError
from kidney_lab.geometry import Triple

log = logging.getLogger(__name__)


def covering_size(cases: Sequence[StoredCase], *, margin_mm: float, multiple: int) -> Triple | None:
    """Size of the smallest box that covers the labels of every case, rounded up to a multiple.

    Args:
        cases: those without labels ask for nothing.
        margin_mm: on every side.
        multiple: of voxels along every axis.

    Returns:
        `(D, H, W)` voxels; None where no case has labels.
    """
    boxes = [grow(case.foreground_box, margin_mm, case.spacing) for case in cases if case.foreground_box is not None]
    if not boxes:
        return None
    needed = (max(box[axis].stop - box[axis].start for box in boxes) for axis in range(3))
    d, h, w = (-(-n // multiple) * multiple for n in needed)
    return d, h, w


def centred_box(case: StoredCase, size: Sequence[int]) -> Box:
    """Box of a size around the middle of a case's labels, or of the volume where it has none."""
    around = case.foreground_box or tuple(slice(0, n) for n in case.shape)
    d, h, w = ((s.start + s.stop - n) // 2 for s, n in zip(around, size, strict=True))
    return slice(d, d + size[0]), slice(h, h + size[1]), slice(w, w + size[2])


@dataclass(frozen=True)
class RoiView:
    """Boxes of one size around the labels of each case, or patches inside these boxes.

    Args:
        samples_per_epoch: samples of an epoch, over all ranks.
        val_samples: samples of the validation loss, the same every time.
        size: of the box, `(D, H, W)` voxels; None: the one that covers the labels of every training case.
        margin_mm: on every side of the labels, where the size is found.
        multiple: of voxels that a size that is found is rounded up to: what the network's strides divide by.
        patch_size: of patches inside the box, `(D, H, W)`; None: the whole box is one sample.
        foreground_fraction: share of these patches about a foreground voxel, moved into the box where they reach out.
        label_weights: how often each label is drawn for them, see `PatchView`.
    """

    spatial_dims: ClassVar[int] = 3
    channels: ClassVar[int] = 1
    quantize: ClassVar[bool] = False

    samples_per_epoch: int
    val_samples: int
    size: Sequence[int] | None = None
    margin_mm: float = 0.0
    multiple: int = 16
    patch_size: Sequence[int] | None = None
    foreground_fraction: float = 0.0
    label_weights: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        for name, size in (("size", self.size), ("patch_size", self.patch_size)):
            if size is not None:
                check_size(name, size, "D, H, W")
        check_fraction("foreground_fraction", self.foreground_fraction)
        check_label_weights(self.label_weights)
        check_margin("margin_mm", self.margin_mm)
        check_count("multiple", self.multiple, smallest=1)

    @property
    def roi_size(self) -> Sequence[int]:
        """Shape of a sample, `(D, H, W)`: the patch's, or the box's."""
        return self.patch_size or self._box_size

    def fitted(self, store: Store, cases: Sequence[str]) -> Self:
        """The view with the size that covers the labels of every training case. See `View.fitted`.

        Raises:
            InputError: no training case has labels.
        """
        multiple = self.multiple if self.size is None else 1  # a size that was chosen need not be rounded up to cover
        needed = covering_size([store[name] for name in cases], margin_mm=self.margin_mm, multiple=multiple)
        if self.size is not None:
            if needed is not None and any(n > s for n, s in zip(needed, self.size, strict=True)):
                log.warning("view.size=%s is less than the %s that cover every training case.", self.size, needed)
            return self
        if needed is None:
            raise InputError(
                f"None of the {len(cases)} training cases has labels, so that no ROI box can be found: set view.size="
                "[D,H,W] or choose view=patches."
            )
        return replace(self, size=needed)

    def draw(self, case: StoredCase, rng: np.random.Generator, labels: Sequence[int]) -> Triple:
        """Places the box, or a patch inside it. See `View.draw`."""
        box = centred_box(case, self._box_size)
        if self.patch_size is None:
            d, h, w = (axis.start for axis in box)
            return d, h, w
        if rng.random() < self.foreground_fraction:
            corner = foreground_corner(case, self.patch_size, rng, labels=labels, weights=self.label_weights)
            if corner is not None:
                return _moved_inside(corner, self.patch_size, box)
        return random_corner(box, self.patch_size, rng)

    def read(
        self, case: StoredCase, label: Sliceable, corner: Triple, shape: Sequence[int]
    ) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
        """Reads a box of the store. See `View.read`."""
        return read_sample(case, label, corner, shape)

    @property
    def _box_size(self) -> Sequence[int]:
        if self.size is None:
            raise InputError("view.size=null is found when a stage is fitted: fit it first, or give [D,H,W] voxels.")
        return self.size


def _moved_inside(corner: Triple, size: Sequence[int], box: Box) -> Triple:
    """The nearest place inside the box; a patch larger than the box keeps covering it."""
    ends = [sorted((axis.start, axis.stop - n)) for axis, n in zip(box, size, strict=True)]
    d, h, w = (min(max(c, low), high) for c, (low, high) in zip(corner, ends, strict=True))
    return d, h, w
