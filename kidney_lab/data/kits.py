"""Cases: found in the folder layout of the KiTS challenges, read into memory, and walked over in parallel.

The layout is `<root>/case_XXXXX/imaging.nii.gz` with a segmentation beside it: `segmentation.nii.gz` (KiTS19, KiTS23)
or `aggregated_MAJ_seg.nii.gz` (KiTS21, the voxelwise majority of three annotators).
"""

import hashlib
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from rich.console import Console
from rich.progress import Progress

from kidney_lab.data.nifti import read_grid, read_volume
from kidney_lab.errors import InputError
from kidney_lab.geometry import Grid, Volume, reorient

IMAGE_FILE = "imaging.nii.gz"
LABEL_FILE = "segmentation.nii.gz"

SOURCE = (
    "The challenge gives the cases out at https://kits-challenge.org (folders case_00000, case_00001, ... with "
    "imaging.nii.gz and segmentation.nii.gz); set data.root= to the folder that holds them. "
    "data=phantom needs no download."
)
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

_MOST_WORKERS = 8  # each may need some GB for a long scan

_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Case:
    """One CT volume of one patient, with or without a reference segmentation.

    Args:
        id: `case_XXXXX`.
        image: file of the CT, or None where there is none.
        label: file of the reference segmentation, or None where there is none.
        synthesize: paint an image around the label where there is no image.
    """

    id: str
    image: Path | None
    label: Path | None
    synthesize: bool = False

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that this case consists of."""
        return tuple(path for path in (self.image, self.label) if path is not None)

    def read_image(self) -> Volume:
        """Reads the CT, or paints one around the label (the same for the same case on every machine).

        Returns:
            Hounsfield units `(D, H, W)`, in memory order, C-contiguous.

        Raises:
            InputError: there is no image and none is to be made, or its file is broken.
        """
        if self.image is not None:
            return in_memory(read_volume(self.image))
        if not self.synthesize:
            raise InputError(f"{self.id} has no image: put {IMAGE_FILE} into its folder.")
        from kidney_lab.data.synthesis import synthesize_ct

        label = self.read_label()
        seed = int.from_bytes(hashlib.sha256(self.id.encode()).digest()[:8], "big")
        return Volume(synthesize_ct(label.array, label.grid.spacing, np.random.default_rng(seed)), label.grid)

    def read_label(self) -> Volume:
        """Reads the reference segmentation.

        Returns:
            Labels `(D, H, W)` uint8, in memory order, C-contiguous.

        Raises:
            InputError: there is none, its file is broken, or a value is no whole number from 0 to 255.
        """
        if self.label is None:
            raise InputError(f"{self.id} has no reference segmentation: put {LABEL_FILE} into its folder.")
        volume = read_volume(self.label)
        whole = volume.array.astype(np.uint8)
        if volume.array.dtype != np.uint8 and not np.array_equal(whole, volume.array):
            raise InputError(f"{self.label} holds values that are no whole numbers from 0 to 255; give a label map.")
        return in_memory(Volume(whole, volume.grid))

    def grid(self) -> Grid:
        """Grid of the case in memory order, from a header alone."""
        if not self.files:
            raise InputError(f"{self.id} has neither {IMAGE_FILE} nor a segmentation.")
        return grid_in_memory(read_grid(self.files[0]))


def in_memory(volume: Volume) -> Volume:
    """Brings a volume into memory order, `(D, H, W)` in IPL, with its slices contiguous."""
    turned = reorient(volume)
    return Volume(np.ascontiguousarray(turned.array), turned.grid)


def grid_in_memory(grid: Grid) -> Grid:
    """Brings a grid into memory order, `(D, H, W)` in IPL."""
    return reorient(Volume(np.broadcast_to(np.uint8(0), grid.shape), grid)).grid


def find_cases(
    root: Path, *, label_files: Sequence[str] = (LABEL_FILE,), synthesize_missing_images: bool = False
) -> list[Case]:
    """Finds the cases of a KiTS folder.

    Args:
        root: folder that holds `case_XXXXX/`.
        label_files: names of the segmentation in a case's folder; the first that exists counts.
        synthesize_missing_images: paint an image around the label of a case that has none.

    Returns:
        Cases sorted by id; a file that is missing is None.

    Raises:
        InputError: the folder is missing or holds no cases; the message says where the data is given out.
    """
    if not root.is_dir():
        raise InputError(f"data.root={root} is no folder. {SOURCE}")
    folders = sorted(folder for folder in root.glob("case_*") if folder.is_dir())
    if not folders:
        nested = sorted({case.parent for case in root.glob("*/case_*") if case.is_dir()})
        hint = f" Did you mean data.root={nested[0]}?" if nested else ""
        raise InputError(f"data.root={root} holds no folders case_XXXXX.{hint} {SOURCE}")
    return [
        Case(
            id=folder.name,
            image=(image := _first(folder, [IMAGE_FILE])),
            label=_first(folder, label_files),
            synthesize=synthesize_missing_images and image is None,
        )
        for folder in folders
    ]


def _first(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def over_cases(
    function: Callable[[Case], T], cases: Sequence[Case], *, workers: int | None, title: str, progress: bool = True
) -> Iterator[tuple[Case, T]]:
    """Applies a function to every case, the largest first, in processes that hold one case at a time.

    Args:
        function: picklable; run in this process where `workers` is 1.
        cases: what to work on.
        workers: number of processes, started by "spawn", with one thread each; None: one per core, at most 8.
        title: of the progress bar, and of the lines in the log where there is no terminal.
        progress: whether to show progress at all.

    Yields:
        A case and its result, in the order in which they are done.

    Raises:
        InputError: a worker process died; names the cases that were in work.
    """
    queue = sorted(cases, key=_bytes, reverse=True)
    workers = min(workers or min(_MOST_WORKERS, multiprocessing.cpu_count()), len(queue))
    results = _parallel(function, queue, workers) if workers > 1 else ((case, function(case)) for case in queue)
    console = Console(stderr=True)
    with Progress(console=console, disable=not (progress and console.is_terminal)) as bar:
        task = bar.add_task(title, total=len(queue))
        for done, result in enumerate(results, start=1):
            bar.advance(task)
            if progress and not console.is_terminal and done * 10 // len(queue) > (done - 1) * 10 // len(queue):
                _log.info("%s: %d of %d cases", title, done, len(queue))
            yield result


def _bytes(case: Case) -> int:
    return sum(path.stat().st_size for path in case.files if path.exists())


def _parallel(function: Callable[[Case], T], queue: Sequence[Case], workers: int) -> Iterator[tuple[Case, T]]:
    """Keeps `workers` cases in work, no more, so that those that were lost with a worker are known."""
    waiting = iter(queue)
    in_work: dict[Future[T], Case] = {}
    with _single_threaded(), ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        try:
            while True:
                for case in _take(waiting, workers - len(in_work)):
                    in_work[pool.submit(function, case)] = case
                if not in_work:
                    return
                for future in wait(in_work, return_when=FIRST_COMPLETED).done:
                    result = future.result()
                    yield in_work.pop(future), result
        except BrokenProcessPool as error:
            raise InputError(
                f"A worker process died while these cases were in work: {', '.join(c.id for c in in_work.values())}. "
                "The machine most likely ran out of memory: run again with prepare.workers=1 (what is done is kept)."
            ) from error


def _take(items: Iterator[Case], n: int) -> list[Case]:
    return [item for _, item in zip(range(n), items, strict=False)]


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Gives processes that are started meanwhile one thread each: many workers of many threads slow each other down."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
