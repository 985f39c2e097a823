"""The store: the prepared copy of a dataset on disk, read box by box.

One folder per case: `image.b2nd` (int16 Hounsfield units), `label.b2nd` (uint8), `annotation_<n>.b2nd` where single
annotators' label maps are kept as well, `foreground.npz` (where the labels are, see `foreground.py`) and `case.json`
(grids, crop, source files, cost). A case's folder appears under its name only when it is whole; names that begin with a
dot are work in progress. `store.json` says what the store is made of. Why Blosc2, and why these chunks:
`docs/decisions.md`.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import blosc2
import numpy as np
from numpy.typing import NDArray

from kidney_lab.data.body import Box
from kidney_lab.data.foreground import Foreground, load_foreground
from kidney_lab.errors import InputError
from kidney_lab.geometry import Grid, Spacing, Triple

FORMAT_VERSION = 2
NO_STORE = "none"


class Sliceable(Protocol):
    """An array on disk that gives its parts as numpy arrays."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Reads one box."""
        ...


@dataclass(frozen=True)
class Cost:
    """What preparing a case took.

    Args:
        seconds: from reading to compressing.
        peak_mib: largest resident memory of the process meanwhile, MiB.
    """

    seconds: float
    peak_mib: float


class StoredCase:
    """One case of a store; files are opened on first use, once per process.

    Args:
        path: the case's folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._opened: dict[tuple[int, str], Sliceable] = {}

    def __reduce__(self) -> tuple[type["StoredCase"], tuple[Path]]:
        return StoredCase, (self.path,)

    @cached_property
    def _facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads((self.path / "case.json").read_text())
        return facts

    @property
    def grid(self) -> Grid:
        """Grid of the stored image."""
        return _grid(self._facts["grid"])

    @property
    def source(self) -> Grid:
        """Grid of the original volume, in memory order."""
        return _grid(self._facts["source"])

    @property
    def crop(self) -> Box:
        """Box of the original volume that the stored image covers."""
        d, h, w = (slice(start, stop) for start, stop in self._facts["crop"])
        return d, h, w

    @property
    def cost(self) -> Cost:
        """What preparing it took."""
        return Cost(**self._facts["cost"])

    @property
    def shape(self) -> Triple:
        """Voxels along `(D, H, W)`."""
        return self.grid.shape

    @property
    def spacing(self) -> Spacing:
        """Distance of voxels along `(D, H, W)`, mm."""
        return self.grid.spacing

    @property
    def image(self) -> Sliceable:
        """Hounsfield units, int16 `(D, H, W)`; `image[slices]` reads a box."""
        return self._open("image")

    @property
    def label(self) -> Sliceable | None:
        """Labels, uint8 `(D, H, W)`, or None where there is no reference."""
        return self._open("label") if self._facts["has_label"] else None

    @property
    def annotations(self) -> list[Sliceable]:
        """Label maps of single annotators, uint8 `(D, H, W)`; empty unless the store was made with them."""
        return [self._open(f"annotation_{number}") for number in range(1, self._facts["annotations"] + 1)]

    @cached_property
    def where(self) -> Foreground:
        """Where the labels are."""
        return load_foreground(self.path / "foreground.npz")

    def foreground(self, label_value: int) -> NDArray[np.int32]:
        """Voxels of a label, sampled uniformly when the case was prepared.

        Args:
            label_value: voxel value, above 0.

        Returns:
            `(n, 3)` int32 coordinates (d, h, w), sorted; at most 10,000, all of them where there are fewer.
        """
        return self.where.samples.get(label_value, np.empty((0, 3), np.int32))

    def slices(self, label_value: int) -> NDArray[np.int32]:
        """Axial slices that hold a label, `(n,)`, sorted."""
        return self.where.slices.get(label_value, np.empty(0, np.int32))

    @property
    def foreground_box(self) -> Box | None:
        """Smallest box that holds every labelled voxel; None where nothing is labelled."""
        return self.where.box

    @property
    def histogram(self) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
        """Hounsfield units of the labelled voxels, each value once and sorted, and how many voxels have it."""
        return self.where.values, self.where.counts

    def _open(self, name: str) -> Sliceable:
        key = (os.getpid(), name)  # a forked worker opens its own
        if key not in self._opened:
            self._opened[key] = open_array(self.path / f"{name}.b2nd")
        return self._opened[key]


class Store:
    """The prepared cases of one dataset on one grid.

    Args:
        path: the store's folder.

    Raises:
        InputError: there is no store, or one in another format.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        version = stored_format(self.path)
        if version == NO_STORE:
            raise InputError(f"{path} is no store of prepared cases; make one with task=prepare.")
        if version != FORMAT_VERSION:
            raise InputError(
                f"{path} is a store in format {version}, but this version reads format {FORMAT_VERSION}; "
                "prepare.rebuild=true makes it anew (nothing of it is kept)."
            )
        self._cases: dict[str, StoredCase] = {}

    def __reduce__(self) -> tuple[type["Store"], tuple[Path]]:
        return Store, (self.path,)

    @property
    def cases(self) -> list[str]:
        """Ids of the cases that are done, sorted."""
        return sorted(folder.parent.name for folder in self.path.glob("[!.]*/case.json"))

    def __getitem__(self, case_id: str) -> StoredCase:
        """Gives one case.

        Args:
            case_id: `case_XXXXX`.

        Returns:
            The case, nothing read yet.

        Raises:
            InputError: it is not in the store.
        """
        if case_id not in self._cases:
            if not (self.path / case_id / "case.json").is_file():
                raise InputError(f"{case_id} is not among the cases of the store {self.path}; run task=prepare.")
            self._cases[case_id] = StoredCase(self.path / case_id)
        return self._cases[case_id]


def open_array(path: Path) -> Sliceable:
    """An array on disk, of which only the boxes that are read are decoded."""
    array: Sliceable = blosc2.open(str(path), mode="r", mmap_mode="r", dparams=blosc2.DParams(nthreads=1))
    return array


def stored_format(path: Path) -> Any:
    """Format of the store in a folder: a number, `NO_STORE`, or "unreadable" where `store.json` is damaged."""
    try:
        return json.loads((path / "store.json").read_text())["format"]
    except (FileNotFoundError, NotADirectoryError):
        return NO_STORE
    except (OSError, ValueError, KeyError, TypeError):
        return "unreadable"


def _grid(stored: Mapping[str, Any]) -> Grid:
    d, h, w = stored["shape"]
    return Grid((d, h, w), np.array(stored["affine"], dtype=np.float64))
