"""Preparation: a volume cropped to the body, resampled, rounded to whole Hounsfield units, and kept in a store.

Training, testing and prediction see an image through `prepare_image` alone, so that they see the same one.
"""

import hashlib
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import filelock
import numpy as np
from numpy.typing import NDArray

from kidney_lab.data import synthesis
from kidney_lab.data.body import Box, body_box
from kidney_lab.data.kits import Case
from kidney_lab.data.parallel import over_cases
from kidney_lab.data.resample import Order, resample, resample_nearest
from kidney_lab.data.store import Cost, Store, StoredCase
from kidney_lab.data.store_writer import CaseRecord, claim_case, create_store, is_current, write_case
from kidney_lab.errors import InputError
from kidney_lab.geometry import Grid, Spacing, Triple, Volume
from kidney_lab.memory import peak_mib, reset_peak

THICK_MM = 3.0
"""Slices above this thickness are resampled across by `GridRecipe.order_z`."""

_BASE_MIB, _BYTES_BEFORE, _BYTES_AFTER = 300.0, 5, 6  # of a worker: imports; bytes a voxel read and resampled

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GridRecipe:
    """How the grid of a prepared volume follows from that of the original.

    Args:
        spacing: mm along `(D, H, W)`, or None for the original's own.
        crop_to_body: drop the air and the table around the patient first.
        order: of the spline that images are resampled by: 3 (cubic), 1 (linear) or 0 (nearest).
        order_z: the same across the slices of scans whose slices are more than `THICK_MM` apart, where cubic splines
            ring; nnU-Net takes 0 there (where the slice spacing is more than 3 times that within slices).
        antialias: smooth images along axes that become coarser first, see `resample`.
    """

    spacing: Spacing | None = None
    crop_to_body: bool = True
    order: Order = 3
    antialias: bool = False
    order_z: Order = 3

    def __post_init__(self) -> None:
        for key, order in (("order", self.order), ("order_z", self.order_z)):
            if order not in (0, 1, 3):
                raise InputError(
                    f"The grid's {key} is {order!r}, but may be 0 (nearest), 1 (linear) or 3 (cubic splines)."
                )
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
        """Names the recipe: equal recipes have equal keys, on every machine (sha256, hexadecimal)."""
        canonical = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def orders_for(self, spacing: Spacing) -> tuple[Order, Order, Order]:
        """Orders of the splines along `(D, H, W)` for a volume of this spacing, mm."""
        return self.order_z if spacing[0] > THICK_MM else self.order, self.order, self.order

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
    orders = recipe.orders_for(volume.grid.spacing)
    whole = resample(array, shape, order=orders, antialias=recipe.antialias, dtype=np.int16)
    return PreparedImage(whole, _grid_of_box(volume.grid, crop, shape), crop, volume.grid)


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
    cases: Sequence[Case],
    recipe: GridRecipe,
    root: Path,
    *,
    dataset: str,
    workers: int | None,
    progress: bool = True,
    rebuild: bool = False,
) -> Store:
    """Prepares every case that is not prepared yet.

    A run that was killed goes on where it stopped; a case whose files have changed is made anew; several processes, on
    several machines, may prepare one store at the same time.

    Args:
        cases: of the dataset.
        recipe: the grid.
        root: folder of all stores; this one is `<root>/<dataset>-<key>`.
        dataset: its name.
        workers: number of processes, each with one case in memory; None: one per core, at most 8, as memory allows.
        progress: whether to show progress.
        rebuild: replace a store that was made in another format.

    Returns:
        The store; it may hold cases beside these from other runs.

    Raises:
        InputError: a case is broken, a worker died, the disk is full, or the store is of another format.
    """
    path = root / f"{dataset}-{recipe.key()[:12]}"
    store = create_store(path, {"dataset": dataset, "recipe": asdict(recipe)}, rebuild=rebuild)
    missing = [case for case in cases if not is_current(path / case.id, _identity(case))]
    need = partial(memory_need, recipe=recipe)
    for wait in (False, True):  # first what no other process works on, then what is left of what others took
        prepare = partial(_prepare_case, recipe=recipe, store=path, wait=wait)
        taken = []
        for case, outcome in over_cases(
            prepare, missing, workers=workers, title=f"Preparing {dataset}", progress=progress, need=need
        ):
            if outcome == "taken":
                taken.append(case)
            elif isinstance(outcome, Cost):
                log.info("%s: %.1f s, peak %.0f MiB", case.id, outcome.seconds, outcome.peak_mib)
        missing = taken
    return store


def memory_need(case: Case, recipe: GridRecipe) -> float:
    """What preparing a case may take at most, MiB, by its header: the voxels read, resampled and compressed."""
    grid = case.grid()
    before, after = (float(np.prod(shape)) for shape in (grid.shape, recipe.shape_for(grid.shape, grid.spacing)))
    return _BASE_MIB + (_BYTES_BEFORE * before + _BYTES_AFTER * max(before, after)) / 2**20


def _prepare_case(
    case: Case, *, recipe: GridRecipe, store: Path, wait: bool
) -> Cost | Literal["done meanwhile", "taken"]:
    """Reads, prepares and keeps one case, unless another process does so.

    Args:
        case: to prepare.
        recipe: the grid.
        store: the store's folder.
        wait: for another process that works on the case, to take it up where that one dies.

    Returns:
        What the case took, or why it was left.
    """
    try:
        with claim_case(store, case.id, wait=wait):
            sources = _identity(case)  # before reading: a file that changes meanwhile is noticed by the next run
            if is_current(store / case.id, sources):
                return "done meanwhile"
            reset_peak()
            start = time.perf_counter()
            write_case(
                store,
                case.id,
                _record(case, recipe, sources),
                lambda: Cost(round(time.perf_counter() - start, 2), round(peak_mib(), 1)),
            )
            return StoredCase(store / case.id).cost
    except filelock.Timeout:
        return "taken"


def _record(case: Case, recipe: GridRecipe, sources: Mapping[str, Any]) -> CaseRecord:
    """Reads and prepares what is kept of a case."""
    prepared = prepare_image(case.read_image(), recipe)
    label = prepare_label(case.read_label().array, prepared) if case.label is not None else None
    return CaseRecord(
        image=prepared.array,
        label=label,
        grid=prepared.grid,
        source=prepared.source,
        crop=prepared.crop,
        sources=sources,
        seed=int.from_bytes(hashlib.sha256(case.id.encode()).digest()[:8], "big"),
        annotations=[prepare_label(drawn.array, prepared) for drawn in case.read_annotations()],
    )


def _identity(case: Case) -> dict[str, Any]:
    """Tells whether a case is still made of the same files, and by the same recipe where its image is painted."""
    paths = [*case.files, *(instance.path for instance in case.instances)]
    files = {path.name: [path.stat().st_size, path.stat().st_mtime_ns] for path in paths}
    return {"files": files, "synthesize": synthesis.RECIPE if case.synthesize else False}


def _whole(shape: Triple) -> Box:
    d, h, w = (slice(0, n) for n in shape)
    return d, h, w


def _grid_of_box(source: Grid, crop: Box, shape: Triple) -> Grid:
    """Grid of `shape` whose box has the outer corners of the crop: the half-pixel convention of `resample`."""
    start = np.array([s.start for s in crop], dtype=np.float64)
    scale = np.array([(s.stop - s.start) / m for s, m in zip(crop, shape, strict=True)])
    to_source = np.diag([*scale, 1.0])
    to_source[:3, 3] = start + (scale - 1) / 2
    return Grid(shape, source.affine @ to_source)
