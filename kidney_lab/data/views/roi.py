"""Boxes of one fixed size around the region of interest.

Hao (master's thesis, Melbourne 2024, section 3.4) crops every case to a box of one size that holds the kidneys and
tumors of every training case. The centre comes from the reference, which training alone may see: in validation and at
inference it comes from what an earlier stage predicts. Samples lie in the very boxes that inference would look into
(`roi_boxes`), which are several where a foreground does not fit into one. That a training box may be moved at random,
so that the network meets boxes as an inexact prediction places them, is an addition to the thesis.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import dist
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

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
from kidney_lab.data.views.roi_boxes import moved, moved_inside, moved_into, roi_boxes
from kidney_lab.data.views.roi_source import RoiSource, boxes_of
from kidney_lab.data.views.window import Corner, Pictured, Window, crop_to_box, whole, window_of
from kidney_lab.errors import InputError
from kidney_lab.geometry import Triple

log = logging.getLogger(__name__)


def covering_size(
    cases: Sequence[StoredCase], *, margin_mm: float, multiple: int, jitter_mm: float = 0.0
) -> Triple | None:
    """Size of the smallest box that covers the labels of every case, rounded up to a multiple.

    Args:
        cases: those without labels ask for nothing.
        margin_mm: on every side.
        multiple: of voxels along every axis.
        jitter_mm: most that the box is moved along an axis; it covers the labels, and what of their margin lies in the
            volume, wherever it is moved.

    Returns:
        `(D, H, W)` voxels; None where no case has labels.
    """
    lengths = []
    for case in cases:
        if case.foreground_box is not None:
            grown = grow(case.foreground_box, margin_mm, case.spacing)
            moves = jitter_voxels(jitter_mm, case.spacing)
            lengths.append([axis.stop - axis.start + 2 * move for axis, move in zip(grown, moves, strict=True)])
    if not lengths:
        return None
    d, h, w = (-(-max(along) // multiple) * multiple for along in zip(*lengths, strict=True))
    return d, h, w


def jitter_voxels(jitter_mm: float, spacing: Sequence[float]) -> Triple:
    """Whole voxels along each axis that lie within a distance."""
    d, h, w = (int(jitter_mm / mm + 1e-6) for mm in spacing)  # 2.34 mm are 3 voxels of 0.78 mm, whatever floats say
    return d, h, w


@dataclass(frozen=True)
class RoiView:
    """Boxes of one size around the labels of each case, or patches inside these boxes.

    The labels are those of the reference, or what an earlier stage predicted, where samples are placed by that. Boxes
    lie as at inference: one where the labels fit into it, else one for each kidney or several to a kidney, all moved
    into the volume. Each is sampled equally often; a patch about a foreground voxel is moved into the nearest. Of a
    case without labels the whole volume is sampled, as inference looks at all of it then.

    Args:
        samples_per_epoch: samples of an epoch, over all ranks.
        val_samples: samples of the validation loss, the same every time.
        size: of the box, `(D, H, W)` voxels; None: the one that covers the labels of every training case.
        margin_mm: on every side of the labels, where the size is found.
        jitter_mm: most that a box about the reference is moved along each axis, drawn evenly; a size that is found is
            larger by that on every side, so that the box still covers the labels. Boxes about predictions stay.
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
    jitter_mm: float = 0.0

    def __post_init__(self) -> None:
        for name, size in (("size", self.size), ("patch_size", self.patch_size)):
            if size is not None:
                check_size(name, size, "D, H, W")
        check_fraction("foreground_fraction", self.foreground_fraction)
        check_label_weights(self.label_weights)
        check_margin("margin_mm", self.margin_mm)
        check_margin("jitter_mm", self.jitter_mm)
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
        needed = covering_size(
            [store[name] for name in cases], margin_mm=self.margin_mm, multiple=multiple, jitter_mm=self.jitter_mm
        )
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

    def draw(
        self, case: StoredCase, rng: np.random.Generator, labels: Sequence[int], roi: RoiSource | None = None
    ) -> Triple:
        """Places a box, or a patch inside one. See `View.draw`."""
        boxes = self._boxes(case, rng, roi)
        if self.patch_size is not None and rng.random() < self.foreground_fraction:
            corner = foreground_corner(case, self.patch_size, rng, labels=labels, weights=self.label_weights)
            if corner is not None:
                return min((moved_inside(corner, self.patch_size, box) for box in boxes), key=partial(dist, corner))
        return random_corner(boxes[rng.integers(len(boxes))], self.roi_size, rng)

    def read(
        self, case: Pictured, labels: Sequence[Sliceable], corner: Corner, shape: Sequence[int]
    ) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
        """Reads a box of the store. See `View.read`."""
        return read_sample(case, labels, corner, shape)

    def windows(
        self, shape: Triple, roi: NDArray[np.uint8] | None = None, smallest: Sequence[int] = (1, 1, 1)
    ) -> list[Window]:
        """Boxes about what an earlier stage found, see `roi_boxes`; the whole volume without one. See `View.windows`.

        Where the earlier stage found nothing the whole volume is searched as well.
        """
        if roi is None:
            return [window_of(whole(shape), shape, smallest)]
        return [window_of(box, shape, smallest) for box in roi_boxes(roi, self._box_size) or [whole(shape)]]

    def place(self, probabilities: Tensor, window: Window, shape: Triple) -> Tensor:
        """The part of a box that lies in the volume. See `View.place`."""
        return crop_to_box(probabilities, window)

    def _boxes(self, case: StoredCase, rng: np.random.Generator, roi: RoiSource | None) -> list[Box]:
        """Where inference looks; boxes about the reference are moved by chance before they are moved into the volume.

        The other way round a box at the border of the volume could leave behind what it is to cover.
        """
        farthest = np.array(jitter_voxels(self.jitter_mm if roi is None else 0.0, case.spacing))
        by = rng.integers(-farthest, farthest + 1).tolist()
        boxes = boxes_of(case if roi is None else roi, self._box_size)
        return [moved_into(moved(box, by), case.shape) for box in boxes] or [whole(case.shape)]

    @property
    def _box_size(self) -> Sequence[int]:
        if self.size is None:
            raise InputError("view.size=null is found when a stage is fitted: fit it first, or give [D,H,W] voxels.")
        return self.size
