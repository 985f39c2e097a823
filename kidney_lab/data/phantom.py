"""Writes the phantom: synthesized CTs of kidneys with tumors in the layout of KiTS, for work without real scans.

Every case comes from its own random stream, keyed by the seed and the case's number, so that it is the same whatever
the number of cases and of worker processes.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import as_completed
from functools import partial
from pathlib import Path
from typing import Any, Final

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from kidney_lab.data.kidneys import Design, draw_design
from kidney_lab.data.synthesis import synthesize_ct
from kidney_lab.errors import InputError
from kidney_lab.files import write_text
from kidney_lab.geometry import grid_from_spacing
from kidney_lab.processes import worker_pool

RECIPE: Final = 1  # raised whenever the same parameters give other voxels

NOTICE: Final = """\
ALL DATA IN THIS FOLDER IS SYNTHESIZED.

The images and segmentations were computed by kidney_lab (data=phantom): no patient, no scanner. They serve to try and
to test methods. No result on them says anything about performance on patients.

case_XXXXX/imaging.nii.gz        CT in Hounsfield units, int16
case_XXXXX/segmentation.nii.gz   labels, uint8: 0 background, 1 kidney, 2 tumor, 3 cyst
kits.json                        what is known of every case
phantom.json                     the parameters that these cases were made with
"""


def write_phantom(
    root: str | Path,
    *,
    n_cases: int = 60,
    in_plane: tuple[int, int] = (192, 256),
    max_slices: int = 160,
    seed: int = 0,
    workers: int | None = None,
) -> Path:
    """Writes synthesized cases in the layout of KiTS; finished cases of the same recipe are kept.

    Args:
        root: folder that gets `case_00000/imaging.nii.gz` (int16, HU) and `segmentation.nii.gz` (uint8), `kits.json`,
            `phantom.json` and a README.txt that says that everything is synthesized.
        n_cases: number of cases; a later call may ask for more.
        in_plane: rows and columns of every slice; the field of view is 330 to 420 mm wide.
        max_slices: most slices of a scan; every scan covers its kidneys whole.
        seed: not negative; case `i` depends on `(seed, i)` alone.
        workers: processes; None is one per core that this process may use.

    Returns:
        The root.

    Raises:
        InputError: if a parameter is out of range, or `root` holds a phantom of other parameters.
    """
    root, in_plane = Path(root), (int(in_plane[0]), int(in_plane[1]))  # a config hands over its own kind of list
    _check(n_cases=n_cases, in_plane=in_plane, max_slices=max_slices, seed=seed)
    parameters = {"recipe": RECIPE, "in_plane": [*in_plane], "max_slices": max_slices, "seed": seed}
    _claim(root, {**parameters, "n_cases": n_cases})
    open_cases = [index for index in range(n_cases) if not _finished(root / _name(index))]
    write = partial(_write_case, root, in_plane=in_plane, max_slices=max_slices, seed=seed)
    done = _each(write, open_cases, workers=workers or _cores())
    for _ in track(
        done,
        total=len(open_cases),
        description="Synthesizing the phantom",
        console=Console(stderr=True),
        disable=not open_cases,
    ):
        pass
    designs = (_design(index, in_plane=in_plane, max_slices=max_slices, seed=seed) for index in range(n_cases))
    entries = [_entry(index, design) for index, design in enumerate(designs)]
    write_text(root / "kits.json", json.dumps(entries, indent=2) + "\n")
    return root


def phantom_case(
    index: int, *, in_plane: tuple[int, int] = (192, 256), max_slices: int = 160, seed: int = 0
) -> tuple[NDArray[np.int16], NDArray[np.uint8], Design]:
    """Computes one case of the phantom.

    Args:
        index: number of the case.
        in_plane: rows and columns.
        max_slices: most slices.
        seed: of the phantom.

    Returns:
        The CT `(D, H, W)` in HU, its label map, and the design that both come from.
    """
    design = _design(index, in_plane=in_plane, max_slices=max_slices, seed=seed)
    label = design.rasterize()
    return synthesize_ct(label, design.spacing, np.random.default_rng([seed, index, 1])), label, design


def _design(index: int, *, in_plane: tuple[int, int], max_slices: int, seed: int) -> Design:
    return draw_design(np.random.default_rng([seed, index, 0]), in_plane=in_plane, max_slices=max_slices)


def _write_case(root: Path, index: int, *, in_plane: tuple[int, int], max_slices: int, seed: int) -> None:
    image, label, design = phantom_case(index, in_plane=in_plane, max_slices=max_slices, seed=seed)
    affine = grid_from_spacing(design.shape, design.spacing).affine
    case = root / _name(index)
    with tempfile.TemporaryDirectory(dir=root, prefix=f".{case.name}-") as part:
        for name, array in (("imaging.nii.gz", image), ("segmentation.nii.gz", label)):
            nib.save(nib.Nifti1Image(array, affine), Path(part) / name)
        case.mkdir(exist_ok=True)
        for name in ("imaging.nii.gz", "segmentation.nii.gz"):
            (Path(part) / name).replace(case / name)


def _each(write: "partial[None]", indices: list[int], *, workers: int) -> Iterator[None]:
    """Writes the cases in this process or in several, and yields after each."""
    if min(workers, len(indices)) <= 1:
        yield from map(write, indices)
        return
    with worker_pool(min(workers, len(indices))) as pool:
        try:
            for future in as_completed([pool.submit(write, index) for index in indices]):
                yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)  # Ctrl-C ends with the cases in work, not with all of them
            raise


def _claim(root: Path, parameters: dict[str, Any]) -> None:
    """Records the parameters in the root, or refuses where other ones are recorded."""
    record = root / "phantom.json"
    if record.exists():
        found = json.loads(record.read_text(encoding="utf-8"))
        n_found = found.get("n_cases", 0)
        if {**found, "n_cases": 0} != {**parameters, "n_cases": 0} or n_found > parameters["n_cases"]:
            raise InputError(
                f"{root} holds a phantom of other parameters: found {json.dumps(found)}, asked for "
                f"{json.dumps(parameters)}: choose another data.root, or delete that folder to have it written anew."
            )
    elif next(root.glob("case_*"), None) is not None:
        raise InputError(
            f"{root} already holds cases that are no phantom (it has no phantom.json): choose another data.root, so "
            "that synthesized and real cases do not mix."
        )
    root.mkdir(parents=True, exist_ok=True)
    write_text(record, json.dumps(parameters, indent=2) + "\n")
    write_text(root / "README.txt", NOTICE)


def _entry(index: int, design: Design) -> dict[str, Any]:
    """What kits.json says of a case, by KiTS's keys where KiTS has one: nothing clinical is made up."""
    z, y, x = design.spacing
    return {
        "case_id": _name(index),
        "synthesized": True,
        "radiographic_size": round(design.tumors_mm[0] / 10, 1),
        "tumor_diameters_mm": [round(mm, 1) for mm in design.tumors_mm],
        "voxel_spacing": {"x_spacing": x, "y_spacing": y, "z_spacing": z},
    }


def _check(*, n_cases: int, in_plane: tuple[int, int], max_slices: int, seed: int) -> None:
    lowest = (
        ("n_cases", n_cases, 1),
        ("in_plane rows", in_plane[0], 32),
        ("in_plane columns", in_plane[1], 32),
        ("max_slices", max_slices, 16),
        ("seed", seed, 0),
    )
    wrong = [f"{name} is {value}; it must be {least} or more." for name, value, least in lowest if value < least]
    if wrong:
        raise InputError.of("The phantom cannot be written with these parameters; change them:", wrong)


def _cores() -> int:
    # Only Linux can tell the cores that this process may use from those that the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _finished(case: Path) -> bool:
    return (case / "imaging.nii.gz").exists() and (case / "segmentation.nii.gz").exists()


def _name(index: int) -> str:
    return f"case_{index:05d}"
