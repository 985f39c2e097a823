"""Preparation: a volume cropped to the body, resampled, rounded to whole Hounsfield units, and kept in a store.

Training, testing and prediction see an image through `prepare_image` alone, so that they see the same one.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kidney_lab.data import synthesis
from kidney_lab.data.body import Box, body_box
from kidney_lab.data.kits import Case, over_cases
from kidney_lab.data.resample import Order, resample, resample_nearest
from kidney_lab.data.store import FORMAT_VERSION, CaseRecord, Store, create_store, is_current, write_case
from kidney_lab.errors import InputError
from kidney_lab.geometry import Grid, Spacing, Triple, Volume

_INT16 = np.iinfo(np.int16)


@dataclass(frozen=True)
class GridRecipe:
    """How the grid of a prepared volume follows from that of the original.

    Args:
        spacing: mm along `(D, H, W)`, or None for the original's own.
        crop_to_body: drop the air and the table around the patient first.
        order: of the spline that images are resampled by, 1 or 3.
        antialias: smooth images along axes that become coarser first, see `resample`.
    """

    spacing: Spacing | None = None
    crop_to_body: bool = True
    order: Order = 3
    antialias: bool = False

    def __post_init__(self) -> None:
        if self.order not in (1, 3):
            raise InputError(f"The order of resampling is {self.order!r}, but may be 1 (linear) or 3 (cubic splines).")
        if self.spacing is None:
            return
        try:
            spacing = tuple(float(mm) for mm in self.spacing)
        except (TypeError, ValueError):
            spacing = ()
        if len(spacing) != 3 or not all(np.isfinite(mm) and mm > 0 for mm in spacing):
            raise InputError(
                f"The spacing is {self.spacing}, but must be three mm above 0 (D, H, W), or null for the scan's."
            )
        object.__setattr__(self, "spacing", spacing)

    def key(self) -> str:
        """Names the recipe: equal recipes of one format have equal keys, on every machine (sha256, hexadecimal)."""
        canonical = json.dumps({"format": FORMAT_VERSION, **asdict(self)}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def shape_for(self, shape: Triple, spacing: Spacing) -> Triple:
        """Number of voxels that cover the extent of a volume at the recipe's spacing, at least 1 per axis.

        Args:
            shape: of the volume, `(D, H, W)`.
            spacing: of the volume, mm.

        Returns:
            The new `(D, H, W)`; the spacing is met to within half a voxel over the whole extent.
        """
        if self.spacing is None:
            return shape
        d, h, w = (max(1, round(n * a / b)) for n, a, b in zip(shape, spacing, self.spacing, strict=True))
        return d, h, w


@dataclass(frozen=True, eq=False)
class PreparedImage:
    """An image on its prepared grid, and the way back.

    Args:
        array: `(D, H, W)` int16, HU.
        grid: of the array; its outer corners are those of the crop.
        crop: box of the original volume that the array covers.
        source: grid of the original volume, in memory order.
    """

    array: NDArray[np.int16]
    grid: Grid
    crop: Box
    source: Grid


def prepare_image(volume: Volume, recipe: GridRecipe) -> PreparedImage:
    """Crops an image to the body, resamples it and rounds it to whole Hounsfield units.

    Args:
        volume: HU in memory order (IPL).
        recipe: the grid that is wanted.

    Returns:
        The prepared image; the same input always gives the same voxels.

    Raises:
        InputError: voxels are NaN or infinite.
    """
    crop = body_box(volume.array) if recipe.crop_to_body else _whole(volume.grid.shape)
    array = volume.array[crop]
    if array.dtype.kind == "f" and not np.isfinite(array.sum(dtype=np.float64)):
        raise InputError("The image holds voxels that are NaN or infinite; write it anew with finite Hounsfield units.")
    d, h, w = array.shape
    shape = recipe.shape_for((d, h, w), volume.grid.spacing)
    resampled = (
        array if shape == array.shape else resample(array, shape, order=recipe.order, antialias=recipe.antialias)
    )
    return PreparedImage(_whole_hu(resampled), _grid_of_box(volume.grid, crop, shape), crop, volume.grid)


def prepare_label(label: NDArray[Any], prepared: PreparedImage) -> NDArray[np.uint8]:
    """Brings a label map onto the grid of its prepared image, by nearest neighbours.

    Args:
        label: `(D, H, W)` on the image's original grid.
        prepared: its image.

    Returns:
        uint8 of the prepared shape.

    Raises:
        InputError: it is not of the original image's shape.
    """
    if label.shape != prepared.source.shape:
        raise InputError(f"The segmentation has shape {label.shape}, but its image {prepared.source.shape} (D, H, W).")
    return resample_nearest(label[prepared.crop], prepared.grid.shape).astype(np.uint8, copy=False)


def prepare_store(
    cases: Sequence[Case], recipe: GridRecipe, root: Path, *, dataset: str, workers: int | None, progress: bool = True
) -> Store:
    """Prepares every case that is not prepared yet.

    A run that was killed goes on where it stopped; a case whose files have changed is made anew; several processes may
    prepare one store at the same time.

    Args:
        cases: of the dataset.
        recipe: the grid.
        root: folder of all stores; this one is `<root>/<dataset>-<key>`.
        dataset: its name.
        workers: number of processes, each with one case in memory; None: one per core, at most 8.
        progress: whether to show progress.

    Returns:
        The store; it may hold cases beside these from other runs.

    Raises:
        InputError: a case is broken, or a worker died.
    """
    path = root / f"{dataset}-{recipe.key()[:12]}"
    store = create_store(path, {"dataset": dataset, "recipe": asdict(recipe)})
    missing = [case for case in cases if not is_current(path / case.id, _identity(case))]
    prepare = partial(_prepare_case, recipe=recipe, store=path)
    for _ in over_cases(prepare, missing, workers=workers, title=f"Preparing {dataset}", progress=progress):
        pass  # every case is kept by the process that made it
    return store


def _prepare_case(case: Case, *, recipe: GridRecipe, store: Path) -> None:
    """Reads, prepares and keeps one case."""
    sources = _identity(case)  # before reading: a file that changes meanwhile is noticed by the next run
    prepared = prepare_image(case.read_image(), recipe)
    record = CaseRecord(
        image=prepared.array,
        label=prepare_label(case.read_label().array, prepared) if case.label is not None else None,
        grid=prepared.grid,
        source=prepared.source,
        crop=prepared.crop,
        sources=sources,
        seed=int.from_bytes(hashlib.sha256(case.id.encode()).digest()[:8], "big"),
    )
    write_case(store, case.id, record)


def _identity(case: Case) -> dict[str, Any]:
    """Tells whether a case is still made of the same files, and by the same recipe where its image is painted."""
    files = {path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in case.files}
    return {"files": files, "synthesize": synthesis.RECIPE if case.synthesize else False}


def _whole(shape: Triple) -> Box:
    d, h, w = (slice(0, n) for n in shape)
    return d, h, w


def _whole_hu(array: NDArray[Any]) -> NDArray[np.int16]:
    """Rounds (half to even) and clips to int16, into an array of its own; slice by slice, to need no other one."""
    whole = np.empty(array.shape, np.int16)
    for k, layer in enumerate(array):
        whole[k] = np.clip(np.rint(layer), _INT16.min, _INT16.max) if array.dtype != np.int16 else layer
    return whole


def _grid_of_box(source: Grid, crop: Box, shape: Triple) -> Grid:
    """Grid of `shape` whose box has the outer corners of the crop: the half-pixel convention of `resample`."""
    start = np.array([s.start for s in crop], dtype=np.float64)
    scale = np.array([(s.stop - s.start) / m for s, m in zip(crop, shape, strict=True)])
    to_source = np.diag([*scale, 1.0])
    to_source[:3, 3] = start + (scale - 1) / 2
    return Grid(shape, source.affine @ to_source)
