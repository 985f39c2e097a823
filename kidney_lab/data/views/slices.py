"""Axial slices for 2D networks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from kidney_lab.data.store import Sliceable, Store, StoredCase
from kidney_lab.data.views.artefacts import Artefacts, check_artefacts, without_artefacts
from kidney_lab.data.views.boxes import AIR_HU, check_count, check_fraction, check_size, read_box, stacked
from kidney_lab.data.views.denoise import Denoise, check_denoise, denoised
from kidney_lab.data.views.planes import neighbours_of, padding_to_aspect, resize_label, resize_planes
from kidney_lab.data.views.roi_source import RoiSource
from kidney_lab.data.views.window import Corner, Pictured, Window
from kidney_lab.errors import InputError
from kidney_lab.geometry import Triple
from kidney_lab.labels import KIDNEY, TUMOR

Kind = Literal["tumor", "kidney", "empty", "any"]

_INSTEAD: dict[Kind, Kind] = {"tumor": "kidney", "kidney": "tumor", "empty": "any"}
_LABEL: dict[Kind, int] = {"tumor": TUMOR, "kidney": KIDNEY}


@dataclass(frozen=True)
class SliceView:
    """Axial slices, with shares of those that hold a tumor, a kidney, or nothing.

    The kind of every slice is drawn by the shares. A case without such slices gives, where a tumor was wanted, a slice
    with kidney, where a kidney was wanted, one with tumor, and where that is missing too or where an empty one was
    wanted, any of its slices.

    Args:
        samples_per_epoch: slices of an epoch, over all ranks.
        val_samples: slices of the validation loss, the same every time.
        size: `(H, W)` pixels that whole slices are resized to by area, padded with air to keep their proportions; None:
            pixels as they are stored.
        roi_size: `(H, W)` that is cut from (or padded around the middle of) these slices: the network's input; around a
            pixel of the tumor or kidney that the slice was drawn for, else anywhere. None: `size`.
        neighbours: slices on either side that are channels as well; beyond the ends the last slice is repeated.
        tumor_fraction: share of slices that hold tumor.
        kidney_fraction: share of slices that hold kidney.
        empty_fraction: share of slices that hold no label; what is left of 1 are slices of any kind.
        copies: of each of these slices, a channel each, for an intensity that shows one slice in several windows.
        artefacts: what is taken out of the stored slices before anything else, see `without_artefacts`.
        denoise: filter of the stored slices: `median` over 3 x 3 pixels, `bilateral`, `anisotropic`, or `none`.
        quantize: round intensities to the 256 grey levels of an image of 8 bits.
    """

    spatial_dims: ClassVar[int] = 2

    samples_per_epoch: int
    val_samples: int
    size: Sequence[int] | None = None
    roi_size: Sequence[int] = ()
    neighbours: int = 0
    tumor_fraction: float = 0.0
    kidney_fraction: float = 0.0
    empty_fraction: float = 0.0
    copies: int = 1
    artefacts: Artefacts = "none"
    denoise: Denoise = "none"
    quantize: bool = False

    def __post_init__(self) -> None:
        if not self.roi_size and not self.size:
            raise InputError("view.size and view.roi_size are both null: give the network's (H, W) as one of them.")
        for name, size in (("size", self.size), ("roi_size", self.roi_size or None)):
            if size is not None:
                check_size(name, size, "H, W")
        object.__setattr__(self, "roi_size", tuple(self.roi_size or self.size or ()))
        shares = ("tumor_fraction", "kidney_fraction", "empty_fraction")
        for name in shares:
            check_fraction(name, getattr(self, name))
        if sum(getattr(self, name) for name in shares) > 1 + 1e-9:
            raise InputError(f"The shares {', '.join(f'view.{name}' for name in shares)} add up to more than 1.")
        check_count("neighbours", self.neighbours, smallest=0)
        check_count("copies", self.copies, smallest=1)
        check_artefacts(self.artefacts)
        check_denoise(self.denoise)

    @property
    def channels(self) -> int:
        """A slice and its neighbours, with their copies."""
        return (2 * self.neighbours + 1) * self.copies

    def fitted(self, store: Store, cases: Sequence[str]) -> Self:
        """This view: nothing depends on the training cases."""
        return self

    def draw(
        self, case: StoredCase, rng: np.random.Generator, labels: Sequence[int], roi: RoiSource | None = None
    ) -> Triple:
        """Places a slice: its index, and where the network's window begins on it. See `View.draw`."""
        index, kind = self._draw_slice(case, rng, labels)
        room = np.array(self.size or case.shape[1:]) - np.asarray(self.roi_size)
        h, w = (-(-int(n) // 2) if n < 0 else int(rng.integers(n + 1)) for n in room)
        if kind in _LABEL and (room > 0).any() and case.label is not None:
            pixels = np.argwhere(case.label[index : index + 1][0] == _LABEL[kind])
            pixel = self._on_own_grid(pixels[rng.integers(len(pixels))], case.shape[1:])
            centred = [min(max(p - r // 2, 0), int(n)) for p, r, n in zip(pixel, self.roi_size, room, strict=True)]
            h, w = (c if n > 0 else place for c, n, place in zip(centred, room, (h, w), strict=True))
        return index, h, w

    def read(
        self, case: Pictured, labels: Sequence[Sliceable], corner: Corner, shape: Sequence[int]
    ) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
        """Reads a box of the slice and its neighbours. See `View.read`."""
        index, h, w = corner
        first, number, picks = neighbours_of(index, self.neighbours, case.shape[0])
        if self.size is None and self.artefacts == self.denoise == "none":  # the box alone is decoded
            image = read_box(case.image, (first, h, w), (number, *shape), AIR_HU)
        else:
            image = read_box(self.planes(case.image[first : first + number]), (0, h, w), (number, *shape), AIR_HU)
        if self.size is None:
            maps = [read_box(label, (index, h, w), (1, *shape), 0) for label in labels]
        else:
            resized = [resize_label(label[index : index + 1], self.size) for label in labels]
            maps = [read_box(label, (0, h, w), (1, *shape), 0) for label in resized]
        return np.repeat(image[picks], self.copies, axis=0), stacked([label[0] for label in maps], shape)

    def windows(
        self, shape: Triple, roi: NDArray[np.uint8] | None = None, smallest: Sequence[int] = (1, 1)
    ) -> list[Window]:
        """Every slice, whole. See `View.windows`."""
        size = tuple(self.size or shape[1:])
        short = [max(0, n - m) for n, m in zip(smallest, size, strict=True)]
        corner = tuple(-(n // 2) for n in short)
        window = tuple(m + n for m, n in zip(size, short, strict=True))
        rows, columns = (slice(0, n) for n in shape[1:])
        return [Window((index, *corner), window, (slice(index, index + 1), rows, columns)) for index in range(shape[0])]

    def place(self, probabilities: Tensor, window: Window, shape: Triple) -> Tensor:
        """The answer about a slice, interpolated linearly where the slice was resized. See `View.place`."""
        size = self.size or shape[1:]
        h, w = (slice(-c, n - c) for c, n in zip(window.corner[1:], size, strict=True))
        seen = probabilities[:, h, w]
        if self.size is not None:
            (top, left), canvas = padding_to_aspect(shape[1:], self.size)
            whole = F.interpolate(seen[None], size=canvas, mode="bilinear", align_corners=False)[0]
            seen = whole[:, -top : shape[1] - top, -left : shape[2] - left]
        return seen[:, None]

    def planes(self, planes: NDArray[np.int16]) -> NDArray[np.int16]:
        """Stored slices `(N, H, W)` as this view shows them: without artefacts, denoised and resized; HU."""
        clean = denoised(without_artefacts(planes, self.artefacts), self.denoise)
        return clean if self.size is None else resize_planes(clean, self.size)

    def _draw_slice(self, case: StoredCase, rng: np.random.Generator, labels: Sequence[int]) -> tuple[int, Kind]:
        shares = [self.tumor_fraction, self.kidney_fraction, self.empty_fraction]
        kinds: list[Kind] = ["tumor", "kidney", "empty", "any"]
        kind = kinds[int(np.searchsorted(np.cumsum(shares), rng.random(), side="right"))]
        for wanted in (kind, _INSTEAD.get(kind, "any"), "any"):
            slices = self._slices(case, wanted, labels)
            if len(slices):
                return int(slices[rng.integers(len(slices))]), wanted
        raise InputError(f"{case.path.name} has no slices; take it out of the dataset.")

    def _slices(self, case: StoredCase, kind: Kind, labels: Sequence[int]) -> NDArray[np.integer]:
        if kind in _LABEL:
            return case.slices(_LABEL[kind])
        every = np.arange(case.shape[0])
        if kind == "any":
            return every
        return np.setdiff1d(every, np.concatenate([case.slices(label) for label in labels]))

    def _on_own_grid(self, pixel: NDArray[np.integer], shape: Sequence[int]) -> list[int]:
        """Where a pixel of the stored slice lies on the slice as this view shows it."""
        if self.size is None:
            return [int(p) for p in pixel]
        corner, canvas = padding_to_aspect(shape, self.size)
        return [int((p - c) * n / m) for p, c, n, m in zip(pixel, corner, self.size, canvas, strict=True)]
