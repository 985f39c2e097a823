"""Tumor volumes, which no edition's clinical file has: measured on the reference segmentations."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from kidney_lab.data.clinical.schema import TUMOR_VOLUME
from kidney_lab.data.kits import Case
from kidney_lab.data.nifti import read_volume
from kidney_lab.data.parallel import over_cases
from kidney_lab.errors import InputError
from kidney_lab.labels import TUMOR


def tumor_volume_ml(case: Case) -> float:
    """Volume of all voxels that the reference labels as tumor, in ml.

    Raises:
        InputError: the case has no reference, or its file is broken.
    """
    if case.label is None:
        raise InputError(f"{case.id} has no reference segmentation, on which its tumor could be measured.")
    label = read_volume(case.label)
    voxel_mm3 = abs(float(np.linalg.det(label.grid.affine[:3, :3])))
    return int(np.count_nonzero(label.array == TUMOR)) * voxel_mm3 / 1000


def tumor_volumes(cases: Sequence[Case], *, workers: int | None = None) -> "pd.Series[Any]":
    """Measures the tumors of all cases that have a reference.

    Args:
        cases: those without a reference are left out.
        workers: processes; None: one per core, at most 8.

    Returns:
        Float64 by case, in ml; empty without any reference.
    """
    labelled = [case for case in cases if case.label is not None]
    measured: dict[str, float] = {}
    if labelled:
        found = over_cases(tumor_volume_ml, labelled, workers=workers, title="Measuring tumors")
        measured = {case.id: volume for case, volume in found}
    return pd.Series(measured, dtype="Float64", name=TUMOR_VOLUME).rename_axis("case").sort_index()
