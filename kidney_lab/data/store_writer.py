"""Writing a store: cases are added whole or not at all, by any number of processes at once."""

import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import blosc2
import filelock
import numpy as np
from numpy.typing import NDArray

from kidney_lab.data.body import Box
from kidney_lab.data.foreground import find_foreground, save_foreground
from kidney_lab.data.store import FORMAT_VERSION, NO_STORE, Cost, Store, stored_format
from kidney_lab.errors import InputError
from kidney_lab.files import DISK_FULL, make_folder, write_text
from kidney_lab.geometry import Grid, Triple

_IMAGE_LAYOUT: tuple[Triple, Triple] = ((16, 512, 512), (4, 64, 64))  # chunks and blocks; chunks are cut to the volume
_LABEL_LAYOUT: tuple[Triple, Triple] = ((64, 128, 128), (8, 64, 64))
_CLAIMS = ".claims"
_ABANDONED_S = 24 * 3600.0  # unfinished folders older than this belong to a run that was killed


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
        annotations: label maps `(D, H, W)` uint8 of single annotators; empty where only the reference is kept.
    """

    image: NDArray[np.int16]
    label: NDArray[np.uint8] | None
    grid: Grid
    source: Grid
    crop: Box
    sources: Mapping[str, Any]
    seed: int
    annotations: Sequence[NDArray[np.uint8]] = ()


def create_store(path: Path, contents: Mapping[str, Any], *, rebuild: bool = False) -> Store:
    """Opens a store, or begins it; several processes may do so at once.

    Args:
        path: the store's folder.
        contents: what `store.json` says beside the format.
        rebuild: replace a store of another format by an empty one.

    Returns:
        The store, with the cases that are done already.

    Raises:
        InputError: the store is of another format, or the disk is full.
    """
    make_folder(path)
    with explaining_full_disk(path), filelock.FileLock(path.with_name(f".{path.name}.lock")):
        if rebuild and stored_format(path) not in (NO_STORE, FORMAT_VERSION):
            path.rename(path.with_name(f".{path.name}.{uuid.uuid4().hex}.outdated"))
            path.mkdir()
        for outdated in path.parent.glob(f".{path.name}.*.outdated"):
            shutil.rmtree(outdated, ignore_errors=True)
        if not (path / "store.json").exists():
            write_text(path / "store.json", json.dumps({"format": FORMAT_VERSION, **contents}, indent=2) + "\n")
    for left in path.glob(".*"):
        if left.name == _CLAIMS:
            continue
        with suppress(OSError):  # another process may be removing it as well
            if time.time() - left.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(left) if left.is_dir() else left.unlink()
    return Store(path)


@contextmanager
def claim_case(store: Path, case_id: str, *, wait: bool) -> Iterator[None]:
    """Keeps other processes from preparing the same case meanwhile; a claim ends with the process that made it.

    Where a network drive does not lock across machines a case may be prepared twice, which costs time alone.

    Args:
        store: the store's folder.
        case_id: name of the case.
        wait: until another process's claim ends.

    Raises:
        filelock.Timeout: another process has claimed it, and `wait` is False.
    """
    with explaining_full_disk(store):
        (store / _CLAIMS).mkdir(exist_ok=True)
        claim = filelock.FileLock(store / _CLAIMS / case_id, timeout=-1 if wait else 0)
        claim.acquire()
    try:
        yield
    finally:
        claim.release()


@contextmanager
def explaining_full_disk(store: Path) -> Iterator[None]:
    """Turns a full disk into one sentence; whatever was whole before stays so."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise InputError(
            f"The disk that holds {store} is full ({error.strerror}): free some space or set prepare.root= to another "
            "disk, and run again; the cases that are done are kept."
        ) from error


def is_current(folder: Path, sources: Mapping[str, Any]) -> bool:
    """Tells whether a case's folder was made from these very files, and is still as it was written."""
    try:
        facts = json.loads((folder / "case.json").read_text())
        whole = all((folder / name).stat().st_size == size for name, size in facts["sizes"].items())
        return whole and bool(facts["sources"] == sources)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def write_case(store: Path, case_id: str, record: CaseRecord, measure: Callable[[], Cost]) -> None:
    """Adds a case to a store, or replaces one that was made from other files; a half case never counts.

    Where another process has added the same case meanwhile, that one is kept.

    Args:
        store: the store's folder.
        case_id: name of the case.
        record: what is kept.
        measure: called when all but the facts is written; says what the case took.

    Raises:
        InputError: the disk is full.
    """
    unfinished = store / f".{uuid.uuid4().hex}.{case_id}"
    try:
        with explaining_full_disk(store):
            unfinished.mkdir()
            _save(unfinished / "image.b2nd", record.image, _IMAGE_LAYOUT)
            if record.label is not None:
                _save(unfinished / "label.b2nd", record.label, _LABEL_LAYOUT)
            for number, annotation in enumerate(record.annotations, start=1):
                _save(unfinished / f"annotation_{number}.b2nd", annotation, _LABEL_LAYOUT)
            save_foreground(unfinished / "foreground.npz", find_foreground(record.image, record.label, record.seed))
            facts = {
                "grid": _grid_json(record.grid),
                "source": _grid_json(record.source),
                "crop": [[s.start, s.stop] for s in record.crop],
                "has_label": record.label is not None,
                "annotations": len(record.annotations),
                "sources": dict(record.sources),
                "sizes": {file.name: file.stat().st_size for file in sorted(unfinished.iterdir())},
                "cost": asdict(measure()),
            }
            (unfinished / "case.json").write_text(json.dumps(facts, indent=2) + "\n")
            _publish(unfinished, store / case_id, record.sources)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


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


def save_label(path: Path, label: NDArray[np.uint8]) -> None:
    """Writes a label map `(D, H, W)` as the store keeps it."""
    _save(path, label, _LABEL_LAYOUT)


def _save(path: Path, array: NDArray[Any], layout: tuple[Triple, Triple]) -> None:
    chunks = [min(n, size) for n, size in zip(array.shape, layout[0], strict=True)]
    blocks = [min(n, size) for n, size in zip(chunks, layout[1], strict=True)]
    cparams = blosc2.CParams(
        codec=blosc2.Codec.LZ4, clevel=5, filters=[blosc2.Filter.BITSHUFFLE], filters_meta=[0], nthreads=1
    )
    compressed = blosc2.asarray(array, chunks=chunks, blocks=blocks, cparams=cparams)
    path.write_bytes(compressed.to_cframe())  # Blosc2's own writing does not notice a full disk


def _grid_json(grid: Grid) -> dict[str, Any]:
    return {"shape": list(grid.shape), "affine": grid.affine.tolist()}
