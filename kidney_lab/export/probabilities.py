"""Probabilities of regions in a file: float16, and only in the box where there are any.

The file is NumPy's `.npz`, which every Python reads without this project, as nnU-Net's probabilities are. It holds

* `probabilities`: float16 `(R, d, h, w)`, 0 to 1, along the scan's own axes;
* `regions`: names of the R regions, see `kidney_lab.labels.REGIONS`;
* `start`: voxel of the scan where the box begins, `shape`: of the whole scan;
* `affine`: `(4, 4)`, voxel of the whole scan to world in mm (RAS+).

float16 keeps a probability to 0.0005 at 1 and closer below; what is less than `THRESHOLD` is 0, in the box and outside.
Nothing is compressed: the noise of networks leaves a fifth to be saved, at some twenty times the time.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kidney_lab.data.body import Box
from kidney_lab.errors import InputError
from kidney_lab.files import replacing
from kidney_lab.geometry import IN_MEMORY, Grid, Triple, Volume, reorient
from kidney_lab.inference.slabs import hull_of, region_probability
from kidney_lab.methods.output import Output
from kidney_lab.metrics.surface import common_box

THRESHOLD: Final = 0.01
"""Probabilities below this count as 0."""


@dataclass(frozen=True, eq=False)
class RegionProbabilities:
    """Probabilities of regions in a box of a scan; outside of it they count as 0.

    Args:
        values: float16 `(R, d, h, w)`, 0 to 1.
        regions: R names.
        start: voxel of the grid where the box begins.
        grid: of the whole scan.

    Raises:
        ValueError: the box reaches out of the grid, or there are not as many regions as channels.
    """

    values: NDArray[np.float16]
    regions: tuple[str, ...]
    start: Triple
    grid: Grid

    def __post_init__(self) -> None:
        inside = all(a >= 0 and a + n <= whole for a, n, whole in self._axes)
        if self.values.ndim != 4 or len(self.values) != len(self.regions) or not inside:
            raise ValueError(
                f"probabilities {self.values.shape} of {self.regions} from {self.start} on do not fit the grid "
                f"{self.grid.shape}"
            )

    @property
    def _axes(self) -> list[tuple[int, int, int]]:
        return list(zip(self.start, self.values.shape[1:], self.grid.shape, strict=True))

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """Where the values lie in the scan."""
        d, h, w = (slice(a, a + n) for a, n, _ in self._axes)
        return d, h, w

    def whole(self, region: str) -> NDArray[np.float16]:
        """Probabilities of a region on the whole scan.

        Args:
            region: one of `regions`.

        Returns:
            float16 of the grid's shape; 0 outside the box.

        Raises:
            InputError: there is no such region.
        """
        if region not in self.regions:
            raise InputError(f"There are no probabilities of {region!r}: choose out of {', '.join(self.regions)}.")
        result = np.zeros(self.grid.shape, np.float16)
        result[self.box] = self.values[self.regions.index(region)]
        return result

    def reoriented(self, orientation: tuple[str, str, str] = IN_MEMORY) -> "RegionProbabilities":
        """The same probabilities along other axes; see `kidney_lab.geometry.reorient`."""
        corner = np.eye(4)
        corner[:3, 3] = self.start
        d, h, w = self.values.shape[1:]
        part = Grid((d, h, w), self.grid.affine @ corner)
        turned = [reorient(Volume(channel, part), orientation) for channel in self.values]
        nothing = np.broadcast_to(np.uint8(0), self.grid.shape)
        grid = reorient(Volume(nothing, self.grid), orientation).grid
        first = part if not turned else turned[0].grid
        a, b, c = np.rint(np.linalg.inv(grid.affine) @ first.affine[:, 3])[:3].astype(int).tolist()
        return RegionProbabilities(np.stack([channel.array for channel in turned]), self.regions, (a, b, c), grid)


class Gatherer:
    """Gathers probabilities while a label map is decided on, slab by slab: of none more than the box is held.

    Args:
        output: meaning of the channels.
        threshold: probabilities below it count as 0.
    """

    def __init__(self, output: Output, *, threshold: float = THRESHOLD) -> None:
        self._output = output
        self._threshold = threshold
        self._pieces: list[tuple[Box, NDArray[np.float16]]] = []

    def __call__(self, part: slice, slab: Tensor) -> None:
        """Takes what is said of some slices; see `observe` of `kidney_lab.inference.slabs.label_map`.

        Args:
            part: the slices.
            slab: `(C, slices, h, w)`, 0 to 1.
        """
        regions = [region_probability(slab, self._output, name) for name in self._output.regions]
        told = torch.stack(regions).float().cpu().numpy()
        told[told < self._threshold] = 0
        d, h, w = common_box(*told)
        if d.stop > d.start:
            self._pieces.append(((_moved(d, part.start), h, w), told[:, d, h, w].astype(np.float16)))

    def gathered(self, box: Box, grid: Grid) -> RegionProbabilities:
        """All that was said.

        Args:
            box: part of the grid that the slabs were of.
            grid: of the whole scan, in the order of the slabs' axes.

        Returns:
            The box that holds every probability of at least the threshold; an empty one where none reaches it.
        """
        regions = tuple(self._output.regions)
        hull = hull_of([place for place, _ in self._pieces]) if self._pieces else (slice(0, 0),) * 3
        values = np.zeros((len(regions), *(axis.stop - axis.start for axis in hull)), np.float16)
        for place, piece in self._pieces:
            d, h, w = (_moved(axis, -around.start) for axis, around in zip(place, hull, strict=True))
            values[:, d, h, w] = piece
        start = (hull[0].start, hull[1].start + box[1].start, hull[2].start + box[2].start)
        return RegionProbabilities(values, regions, start if self._pieces else (0, 0, 0), grid)


def _moved(axis: slice, by: int) -> slice:
    return slice(axis.start + by, axis.stop + by)


def write_probabilities(path: Path, probabilities: RegionProbabilities) -> None:
    """Writes probabilities, or nothing at all.

    Args:
        path: of the file, `.npz`; its folder is made.
        probabilities: along the axes of the scan's own file.
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            probabilities=probabilities.values,
            regions=np.array(probabilities.regions),
            start=np.array(probabilities.start),
            shape=np.array(probabilities.grid.shape),
            affine=probabilities.grid.affine,
        )


def read_probabilities(path: Path) -> RegionProbabilities:
    """Reads what `write_probabilities` wrote.

    Args:
        path: of the file.

    Returns:
        The probabilities, exact to the bit.

    Raises:
        InputError: the file is missing, damaged, or none of these.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            d, h, w = arrays["shape"].tolist()
            a, b, c = arrays["start"].tolist()
            regions = tuple(arrays["regions"].tolist())
            grid = Grid((d, h, w), arrays["affine"])
            return RegionProbabilities(arrays["probabilities"], regions, (a, b, c), grid)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; check the path.") from error
    except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} holds no probabilities of regions ({error}); predict the scan again.") from error
