"""The volumes behind a run's scores: scans and references where the run says that its data lies, and its label maps."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf

from kidney_lab.data.dataset import Dataset
from kidney_lab.data.kits import Case, in_memory
from kidney_lab.data.nifti import read_volume
from kidney_lab.data.painted import painted_once
from kidney_lab.errors import InputError
from kidney_lab.geometry import Grid, Spacing
from kidney_lab.metrics.pairs import find_label_maps
from kidney_lab.reporting.runs import Run

_NEEDED_TO_MAKE: Final = ("_target_", "make", "source")
"""Settings of `data` that write or fetch a dataset: a report reads what is there."""


@dataclass(frozen=True, eq=False)
class Scan:
    """One case as it was scored, in memory order.

    Args:
        image: `(D, H, W)` in HU.
        reference: label map `(D, H, W)` uint8.
        grid: of both.
    """

    image: NDArray[Any]
    reference: NDArray[np.uint8]
    grid: Grid

    @property
    def spacing_mm(self) -> Spacing:
        """Distance between voxels, (D, H, W), in mm."""
        return self.grid.spacing


def read_scan(run: Run, case: str) -> Scan:
    """Reads the scan and the reference of a case that a run was scored on.

    Args:
        run: that says in its configuration where its data lies.
        case: id.

    Returns:
        The scan on its file's grid; where the run's data has no images and they are painted, the painted one.

    Raises:
        InputError: the run says nothing of its data, the data is gone, or a file is broken.
    """
    data = OmegaConf.select(run.settings, "data")
    if not OmegaConf.is_dict(data) or not data.get("root"):
        raise InputError(f"{run.name} does not say where its data lies.")
    # not instantiated: a configuration may name any function, and a report must not call it
    settings: Mapping[str, Any] = OmegaConf.to_container(data, resolve=True)  # type: ignore[assignment]
    chosen = {str(key): value for key, value in settings.items() if key not in _NEEDED_TO_MAKE}
    folder = Path(_folder(run, "data.root") or "")
    if not folder.is_dir():
        raise InputError(f"{folder}, where {run.name} found its data, is gone.")
    try:
        dataset = Dataset.from_config(**{**chosen, "root": str(folder)})
        found = dataset.cases.get(case)
    except TypeError as error:
        raise InputError(f"{run.path} says of its data what this version does not know: {error}.") from error
    if found is None or found.label is None:
        raise InputError(f"{folder} no longer holds {case} with its reference.")
    reference = found.read_label()
    image = _image(found, Path(_folder(run, "prepare.root") or "") / "painted")
    if image.shape != reference.array.shape:
        raise InputError(f"{case} has an image of shape {image.shape} and a reference of {reference.array.shape}.")
    return Scan(image, reference.array, reference.grid)


def read_prediction(run: Run, case: str, grid: Grid) -> NDArray[np.uint8]:
    """Reads the label map that a run was scored by.

    Args:
        run: of a training, or scores of `task=evaluate`, whose `evaluation.json` says where its label maps lie.
        case: id.
        grid: of the scan, in memory order.

    Returns:
        Labels `(D, H, W)`.

    Raises:
        InputError: it is gone, broken, or of another shape than the scan.
    """
    file = _prediction_file(run, case)
    if file is None or not file.is_file():
        raise InputError(f"{run.name} has kept no label map of it.")
    labels = in_memory(read_volume(file)).array
    if labels.shape != grid.shape:
        raise InputError(f"{file} has shape {labels.shape}, and the scan of {case} {grid.shape}.")
    return labels.astype(np.uint8, copy=False)


def _folder(run: Run, key: str) -> str | None:
    """A folder as the run resolved it, since its configuration may hold a relative one."""
    resolved = (run.record.get("paths") or {}).get(key)
    named = resolved if resolved is not None else OmegaConf.select(run.settings, key)
    return None if named is None else str(named)


def _image(case: Case, painted: Path) -> NDArray[Any]:
    """The image; a painted one from where the run has kept it, else painted again without keeping it."""
    if case.image is None and case.synthesize and painted.is_dir():
        return painted_once(case, painted).array
    return case.read_image().array


def _prediction_file(run: Run, case: str) -> Path | None:
    if not run.scores_only:
        return run.path / "predictions" / f"{case}.nii.gz"
    record = run.path / "evaluation.json"
    folder = json.loads(record.read_text(encoding="utf-8")).get("predictions") if record.is_file() else None
    return None if folder is None else find_label_maps(Path(folder), "predictions").get(case)
