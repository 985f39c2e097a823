"""The store: the prepared copy of a dataset on disk, read box by box.

One folder per case: `image.b2nd` (int16 Hounsfield units), `label.b2nd` (uint8), `foreground.npz` (sampled voxels of
every label) and `case.json` (grids, crop, source files). A case's folder appears under its name only when it is whole;
names that begin with a dot are work in progress. `store.json` says what the store is made of. Why Blosc2, and why these
chunks: `docs/decisions.md`.
"""

import json
import os
import shutil
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import blosc2
import numpy as np
from numpy.typing import NDArray

from kidney_lab.errors import InputError
from kidney_lab.files import write_text
from kidney_lab.geometry import Grid, Spacing, Triple

FORMAT_VERSION = 1
FOREGROUND_SAMPLES = 10_000

_IMAGE_LAYOUT: tuple[Triple, Triple] = ((16, 512, 512), (4, 64, 64))  # chunks and blocks; chunks are cut to the volume
_LABEL_LAYOUT: tuple[Triple, Triple] = ((64, 128, 128), (8, 64, 64))
_ABANDONED_S = 24 * 3600.0  # unfinished folders older than this belong to a run that was killed


class Sliceable(Protocol):
    """An array on disk that gives its parts as numpy arrays."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Reads one box."""
        ...


@dataclass(frozen=True, eq=False)
class CaseRecord:
    """What is kept of a case.

    Args:
        image: `(D, H, W)` int16, HU.
        label: `(D, H, W)` uint8, or None where there is no reference.
        grid: of the image.
        source: grid of the original volume, in memory order.
        crop: box of the original that the image covers.
        sources: identity of the files that it was made from; a case is redone when it changes.
        seed: of the foreground samples.
    """

    image: NDArray[np.int16]
    label: NDArray[np.uint8] | None
    grid: Grid
    source: Grid
    crop: tuple[slice, slice, slice]
    sources: Mapping[str, Any]
    seed: int


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
    def crop(self) -> tuple[slice, slice, slice]:
        """Box of the original volume that the stored image covers."""
        d, h, w = (slice(start, stop) for start, stop in self._facts["crop"])
        return d, h, w

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

    def foreground(self, label_value: int) -> NDArray[np.int32]:
        """Voxels of a label, sampled uniformly when the case was prepared.

        Args:
            label_value: voxel value, above 0.

        Returns:
            `(n, 3)` int32 coordinates (d, h, w), sorted; at most 10,000, all of them where there are fewer.
        """
        return self._foreground.get(label_value, np.empty((0, 3), np.int32))

    @cached_property
    def _foreground(self) -> dict[int, NDArray[np.int32]]:
        with np.load(self.path / "foreground.npz") as samples:
            return {int(name): samples[name] for name in samples.files}

    def _open(self, name: str) -> Sliceable:
        key = (os.getpid(), name)  # a forked worker opens its own
        if key not in self._opened:
            self._opened[key] = blosc2.open(
                str(self.path / f"{name}.b2nd"), mode="r", mmap_mode="r", dparams=blosc2.DParams(nthreads=1)
            )
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
        try:
            version = json.loads((self.path / "store.json").read_text())["format"]
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{path} is no store of prepared cases; make one with task=prepare.") from error
        if version != FORMAT_VERSION:
            raise InputError(
                f"{path} is a store in format {version}, but this version reads format {FORMAT_VERSION}; remove that "
                "folder and run task=prepare again."
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


def create_store(path: Path, contents: Mapping[str, Any]) -> Store:
    """Opens a store, or begins it; several processes may do so at once.

    Args:
        path: the store's folder.
        contents: what `store.json` says beside the format.

    Returns:
        The store, with the cases that are done already.
    """
    path.mkdir(parents=True, exist_ok=True)
    if not (path / "store.json").exists():
        write_text(path / "store.json", json.dumps({"format": FORMAT_VERSION, **contents}, indent=2) + "\n")
    for left in path.glob(".*"):
        with suppress(OSError):  # another process may be removing it as well
            if time.time() - left.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(left) if left.is_dir() else left.unlink()
    return Store(path)


def is_current(folder: Path, sources: Mapping[str, Any]) -> bool:
    """Tells whether a case's folder was made from these very files."""
    try:
        return bool(json.loads((folder / "case.json").read_text())["sources"] == sources)
    except (OSError, ValueError, KeyError):
        return False


def write_case(store: Path, case_id: str, record: CaseRecord) -> None:
    """Adds a case to a store, or replaces one that was made from other files; a half case never counts.

    Where another process has added the same case meanwhile, that one is kept.

    Args:
        store: the store's folder.
        case_id: name of the case.
        record: what is kept.
    """
    unfinished = store / f".{uuid.uuid4().hex}.{case_id}"
    unfinished.mkdir()
    try:
        _save(unfinished / "image.b2nd", record.image, _IMAGE_LAYOUT)
        if record.label is not None:
            _save(unfinished / "label.b2nd", record.label, _LABEL_LAYOUT)
        samples: dict[str, Any] = {str(v): voxels for v, voxels in sample_foreground(record.label, record.seed).items()}
        np.savez(unfinished / "foreground.npz", **samples)
        facts = {
            "grid": _grid_json(record.grid),
            "source": _grid_json(record.source),
            "crop": [[s.start, s.stop] for s in record.crop],
            "has_label": record.label is not None,
            "sources": dict(record.sources),
        }
        (unfinished / "case.json").write_text(json.dumps(facts, indent=2) + "\n")
        _publish(unfinished, store / case_id, record.sources)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def sample_foreground(label: NDArray[np.uint8] | None, seed: int) -> dict[int, NDArray[np.int32]]:
    """Samples voxels of every label uniformly, without replacement.

    Args:
        label: `(D, H, W)`, or None.
        seed: the same seed gives the same voxels.

    Returns:
        `(n, 3)` coordinates by label value; at most `FOREGROUND_SAMPLES` each, sorted.
    """
    if label is None:
        return {}
    rng = np.random.default_rng(seed)
    flat = np.ravel(label)
    foreground = np.flatnonzero(flat)
    values = flat[foreground]
    samples = {}
    for value in np.flatnonzero(np.bincount(values)).tolist():
        voxels = foreground[values == value]
        if len(voxels) > FOREGROUND_SAMPLES:
            voxels = np.sort(rng.choice(voxels, FOREGROUND_SAMPLES, replace=False, shuffle=False))
        samples[value] = np.stack(np.unravel_index(voxels, label.shape), axis=1).astype(np.int32)
    return samples


def _publish(unfinished: Path, final: Path, sources: Mapping[str, Any]) -> None:
    """Renames a whole case to its name; a rename of folders never overwrites one with files in it."""
    try:
        unfinished.rename(final)
        return
    except OSError:
        if not final.is_dir():
            raise
    if is_current(final, sources):
        return
    outdated = final.with_name(f".{uuid.uuid4().hex}.outdated")
    with suppress(FileNotFoundError):  # another process took it away
        final.rename(outdated)
    with suppress(OSError):  # another process put its own there
        unfinished.rename(final)
    shutil.rmtree(outdated, ignore_errors=True)


def _save(path: Path, array: NDArray[Any], layout: tuple[Triple, Triple]) -> None:
    chunks = [min(n, size) for n, size in zip(array.shape, layout[0], strict=True)]
    blocks = [min(n, size) for n, size in zip(chunks, layout[1], strict=True)]
    cparams = blosc2.CParams(
        codec=blosc2.Codec.LZ4, clevel=5, filters=[blosc2.Filter.BITSHUFFLE], filters_meta=[0], nthreads=1
    )
    blosc2.asarray(array, chunks=chunks, blocks=blocks, cparams=cparams, urlpath=str(path), mode="w")


def _grid(stored: Mapping[str, Any]) -> Grid:
    d, h, w = stored["shape"]
    return Grid((d, h, w), np.array(stored["affine"], dtype=np.float64))


def _grid_json(grid: Grid) -> dict[str, Any]:
    return {"shape": list(grid.shape), "affine": grid.affine.tolist()}
