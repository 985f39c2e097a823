"""What a run of an ensemble tells of how far its members differ: maps and `uncertainty.csv`.

`uncertainty/<case>_<region>_variance.nii.gz` and `_entropy.nii.gz` lie on the image's own grid, one compressed byte a
voxel with the header's slope, so that every reader shows probabilities squared and nats.

`uncertainty.csv` has a row for every case and region: `variance_in_region`, `entropy_in_region` (means over the voxels
of the result), `variance_in_body`, `entropy_in_body` (means over the box about the body), `uncertain_ml` (volume of an
entropy above `UNCERTAIN_NATS`) and `ece`, the expected calibration error of the mean probability in the box about the
reference's region, 15 bins; empty where undefined.
"""

import json
import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from kidney_lab.data.body import body_box
from kidney_lab.files import replacing, write_text
from kidney_lab.geometry import Volume, reorient
from kidney_lab.inference.ensemble import Ensemble
from kidney_lab.inference.fusion import Fused
from kidney_lab.inference.method import Segmentation, TrainedMethod
from kidney_lab.inference.uncertainty import ENTROPY_STEP, VARIANCE_STEP, measure_spread
from kidney_lab.labels import REGIONS
from kidney_lab.metrics.calibration import expected_calibration_error

FOLDER = "uncertainty"


def save_uncertainty(
    run: Path,
    method: TrainedMethod,
    case: str,
    image: Volume,
    segmentation: Segmentation,
    reference: NDArray[Any],
    regions: Sequence[str],
) -> None:
    """Writes the maps of a case, and its rows, where the method is an ensemble that is asked for them.

    One region at a time is held, 4 bytes a voxel of the scan.

    Args:
        run: the run folder.
        method: that segmented the case.
        case: id.
        image: HU, on the grid of its file.
        segmentation: of the image.
        reference: label map `(D, H, W)` in memory order.
        regions: that are scored; those that two members or more know are told.
    """
    combination, said = method.combination, segmentation.said
    if not (isinstance(combination, Ensemble) and combination.uncertainty and isinstance(said, Fused)):
        return
    ipl, labels = reorient(image), reorient(segmentation.labels).array
    body, voxel_ml = body_box(ipl.array), math.prod(ipl.grid.spacing) / 1000
    rows = []
    for region in [region for region in regions if said.knowing(region) > 1]:
        spread = measure_spread(said, region, predicted=np.isin(labels, REGIONS[region]), body=body)
        for name, steps, size in (
            ("variance", spread.variance, VARIANCE_STEP),
            ("entropy", spread.entropy, ENTROPY_STEP),
        ):
            stored = reorient(Volume(steps, ipl.grid), image.grid.orientation).array
            write_steps(run / FOLDER / f"{case}_{region}_{name}.nii.gz", Volume(stored, image.grid), size)
        wanted = np.isin(reference, REGIONS[region])
        ece = expected_calibration_error(spread.mean, wanted, foreground_box=True)
        rows.append({"region": region, **spread.summary, "uncertain_ml": spread.uncertain * voxel_ml, "ece": ece})
    write_text(run / FOLDER / f"{case}.json", json.dumps(rows) + "\n")


def write_steps(path: Path, volume: Volume, step: float) -> None:
    """Writes whole steps of a quantity as compressed NIfTI whose header says what a step stands for.

    Args:
        path: of the file, which appears when it is whole.
        volume: uint8, in any orientation.
        step: size of a step.
    """
    image = nib.Nifti1Image(volume.array, volume.grid.affine, dtype=volume.array.dtype)
    image.set_sform(volume.grid.affine, code="scanner")
    image.set_qform(volume.grid.affine, code="scanner")
    image.header.set_xyzt_units("mm")
    image.header.set_slope_inter(step, 0)
    with replacing(path) as temporary:
        nib.save(image, temporary)


def gather_uncertainty(run: Path, cases: Collection[str]) -> None:
    """Writes `uncertainty.csv` out of what was kept of each case; nothing where nothing was.

    Args:
        run: the run folder.
        cases: that count.
    """
    files = {case: run / FOLDER / f"{case}.json" for case in sorted(cases)}
    rows = [
        {"case": case, **row}
        for case, file in files.items()
        if file.is_file()
        for row in json.loads(file.read_text(encoding="utf-8"))
    ]
    if rows:
        write_text(run / "uncertainty.csv", pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"))
