"""Square regions of interest on axial slices, cut out and resized to one size.

Zheng et al., "Multi-scale adversarial learning and difficult supervision for kidney and kidney tumor segmentation
methods", BMVC 2022: the fine networks work on the regions that the coarse one finds (section 2.1). All slices are
resized to 128 x 128 (section 3.2), from which a kidney's region would be some 20 pixels wide. Chosen: regions are cut
from the slice as it is stored, and these are resized; `source="resized"` is the other reading. How regions are found:
see `slice_boxes`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from kidney_lab.data.store import Sliceable, Store, StoredCase
from kidney_lab.data.views.boxes import check_count, check_fraction, check_size, stacked
from kidney_lab.data.views.crops import Magnified, crop_image, crop_label, resample_back
from kidney_lab.data.views.planes import median_filter, neighbours_of, padding_to_aspect, resize_label, resize_planes
from kidney_lab.data.views.roi_source import RoiSource
from kidney_lab.data.views.slice_boxes import Mode, Square, box_within, jittered, squares, whole_slice
from kidney_lab.data.views.window import Corner, Pictured, Window
from kidney_lab.errors import InputError
from kidney_lab.geometry import Triple
from kidney_lab.labels import LABELS, REGIONS

Source = Literal["full", "resized"]


@dataclass(frozen=True)
class SliceRoiView:
    """Squares about a region on axial slices, every one resized to the network's input.

    Training samples lie about the reference, moved and resized at random as an inexact prediction would place them, or
    about what an earlier stage predicts. A case in which there is no such region gives whole slices. At inference there
    is a window for every square about what the earlier stage predicted; where that found nothing, nothing is predicted.

    Args:
        samples_per_epoch: samples of an epoch, over all ranks.
        val_samples: samples of the validation loss, the same every time.
        size: `(H, W)` pixels that every square is resized to: the network's input.
        region: what the squares lie about, one of KiTS's regions; None: everything labelled.
        mode: a square for every `component` of it on a slice, or one about all (`joint`).
        source: what a square is cut from: the slice as it is stored (`full`), or first `resized` to `size`.
        margin: on every side, as a part of the component's longer side.
        min_margin: least margin, pixels of the stored slice.
        min_pixels: smaller components, in pixels of the stored slice, get no square.
        jitter: most that squares about the reference are moved and resized by, as a part of their side.
        neighbours: slices on either side that are channels as well; beyond the ends the last slice is repeated.
        denoise: `median` over 3 x 3 pixels of the stored slices, or `none`.
        quantize: round intensities to the 256 grey levels of an image of 8 bits.
    """

    spatial_dims: ClassVar[int] = 2

    samples_per_epoch: int
    val_samples: int
    size: Sequence[int]
    region: str | None = None
    mode: Mode = "component"
    source: Source = "full"
    margin: float = 0.25
    min_margin: int = 8
    min_pixels: int = 20
    jitter: float = 0.1
    neighbours: int = 0
    denoise: Literal["none", "median"] = "none"
    quantize: bool = False

    def __post_init__(self) -> None:
        check_size("size", self.size, "H, W")
        if self.region is not None and self.region not in REGIONS:
            raise InputError(f"view.region={self.region} is unknown: choose one of {', '.join(REGIONS)}, or null.")
        kinds = {"mode": get_args(Mode), "source": get_args(Source), "denoise": ("none", "median")}
        for name, allowed in kinds.items():
            if getattr(self, name) not in allowed:
                raise InputError(f"view.{name}={getattr(self, name)} is unknown: choose {' or '.join(allowed)}.")
        check_fraction("margin", self.margin)
        check_fraction("jitter", self.jitter)
        check_count("min_margin", self.min_margin, smallest=0)
        check_count("min_pixels", self.min_pixels, smallest=1)
        check_count("neighbours", self.neighbours, smallest=0)

    @property
    def channels(self) -> int:
        """A slice and its neighbours."""
        return 2 * self.neighbours + 1

    @property
    def roi_size(self) -> Sequence[int]:
        """Shape of a sample, `(H, W)`."""
        return self.size

    def fitted(self, store: Store, cases: Sequence[str]) -> Self:
        """This view: nothing depends on the training cases."""
        return self

    def draw(
        self, case: StoredCase, rng: np.random.Generator, labels: Sequence[int], roi: RoiSource | None = None
    ) -> Corner:
        """Draws a slice with the region, and one of its squares. See `View.draw`.

        Returns:
            `(slice, 0, 0)`, and behind it the square in pixels of the stored slice.
        """
        source = roi or case
        for index in rng.permutation(self._slices(case, roi)).tolist():
            found = [] if source.label is None else self._squares(source.label[index : index + 1][0])
            if found:
                square = found[rng.integers(len(found))]
                return (index, 0, 0, *(square if roi is not None else jittered(square, self.jitter, rng)))
        return (int(rng.integers(case.shape[0])), 0, 0, *whole_slice(case.shape[1:]))

    def read(
        self, case: Pictured, labels: Sequence[Sliceable], corner: Corner, shape: Sequence[int]
    ) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
        """Reads a square of the slice and its neighbours, or what lies about it. See `View.read`."""
        index, h, w, *square = corner
        rows, columns = self._axes(Square(*square), (h, w), shape, case.shape)
        first, number, picks = neighbours_of(index, self.neighbours, case.shape[0])
        planes, start = self._planes(case.image, first, number)
        image = crop_image(planes, start, number, rows, columns)
        maps = [crop_label(*self._label_planes(label, index), rows, columns)[0] for label in labels]
        return image[picks], stacked(maps, shape)

    def windows(
        self, shape: Triple, roi: NDArray[np.uint8] | None = None, smallest: Sequence[int] = (1, 1)
    ) -> list[Window]:
        """A window for every square about what an earlier stage predicted. See `View.windows`.

        Raises:
            InputError: there is no earlier stage, or the inferer needs more than a square.
        """
        if roi is None:
            raise InputError(
                "The view SliceRoiView looks at what an earlier stage found, and there is none: choose view=slices."
            )
        if any(n > m for n, m in zip(smallest, self.size, strict=True)):
            raise InputError(
                f"The inferer's windows of {list(smallest)} pixels are larger than the view's {list(self.size)}: "
                "choose a view.size of at least that."
            )
        marked = np.flatnonzero(self._marked(roi).any(axis=(1, 2)))
        return [
            Window((index, 0, 0, *square), tuple(self.size), box_within(square, index, shape))
            for index in marked.tolist()
            for square in self._squares(roi[index])
        ]

    def place(self, probabilities: Tensor, window: Window, shape: Triple) -> Tensor:
        """The answer about a square, interpolated linearly at the pixels of the stored slice. See `View.place`."""
        square = Square(*window.corner[3:])
        rows, columns = (
            Magnified((axis.start - first) * n / square.side, n / square.side, axis.stop - axis.start)
            for axis, first, n in zip(window.box[1:], square, self.size, strict=False)
        )
        return resample_back(probabilities, rows, columns)[:, None]

    def _axes(
        self, square: Square, offset: Sequence[int], shape: Sequence[int], volume: Triple
    ) -> tuple[Magnified, Magnified]:
        """Rows and columns of a crop that begins `offset` of its pixels after the square does."""
        corner, factors = (0, 0), [1.0, 1.0]
        if self.source == "resized":
            corner, canvas = padding_to_aspect(volume[1:], self.size)
            factors = [n / m for n, m in zip(self.size, canvas, strict=True)]
        rows, columns = (
            Magnified((edge + c * square.side / n - zero) * factor, square.side / n * factor, length)
            for edge, c, n, zero, factor, length in zip(
                square[:2], offset, self.size, corner, factors, shape, strict=True
            )
        )
        return rows, columns

    def _planes(self, image: Any, first: int, number: int) -> tuple[Any, int]:
        """Slices that squares are cut from, and which of them comes first; read as late as may be."""
        if self.source == "full" and self.denoise == "none":
            return image, first
        planes = image[first : first + number]
        planes = median_filter(planes) if self.denoise == "median" else planes
        return (resize_planes(planes, self.size) if self.source == "resized" else planes), 0

    def _label_planes(self, label: Any, index: int) -> tuple[Any, int]:
        if self.source == "full":
            return label, index
        return resize_label(label[index : index + 1], self.size), 0

    def _squares(self, plane: NDArray[np.uint8]) -> list[Square]:
        return squares(
            self._marked(plane),
            mode=self.mode,
            margin=self.margin,
            min_margin=self.min_margin,
            min_pixels=self.min_pixels,
        )

    def _marked(self, labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
        wanted = np.zeros(256, np.bool_)
        wanted[list(self._values)] = True
        marked: NDArray[np.bool_] = wanted[labels]
        return marked

    @property
    def _values(self) -> Sequence[int]:
        return tuple(LABELS.values()) if self.region is None else REGIONS[self.region]

    def _slices(self, case: StoredCase, roi: RoiSource | None) -> NDArray[np.integer]:
        """Slices that hold the region, by what an earlier stage predicted or by the reference."""
        if roi is None:
            return np.unique(np.concatenate([case.slices(value) for value in self._values]))
        if roi.foreground_box is None or roi.label is None:
            return np.zeros(0, np.int64)
        depth = roi.foreground_box[0]
        marked = self._marked(roi.label[depth.start : depth.stop]).any(axis=(1, 2))
        indices: NDArray[np.integer] = depth.start + np.flatnonzero(marked)
        return indices
