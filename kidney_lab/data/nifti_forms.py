"""Where a NIfTI header says that its voxels lie: it may say so twice, and differently, or on axes that are sheared.

The sform is a full affine, the qform a rotation with spacing. nibabel takes the sform where its code is above 0, else
the qform, else a guess; other readers choose otherwise, and a mask drawn in one of them then lies elsewhere. See
https://nifti.nimh.nih.gov/nifti-1/documentation/nifti1fields/nifti1fields_pages/qsform.html.
"""

from typing import Any

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from kidney_lab.errors import InputError
from kidney_lab.geometry import Grid

TOLERANCE_MM = 0.1
"""Disagreement of sform and qform below this, at the worst corner, is rounding."""

SKEW_DEGREES = 0.6
"""Axes that are further than this from right angles are refused; rounded direction cosines of DICOM reach 0.57."""


def orientation_doubt(header: Any) -> str | None:
    """Says why the place of the voxels is in doubt.

    Args:
        header: of a NIfTI-1 or NIfTI-2 image.

    Returns:
        One sentence with the numbers and what is used, or None where all is clear.
    """
    if int(header["sform_code"]) <= 0 and int(header["qform_code"]) <= 0:
        guess = "".join(nib.orientations.aff2axcodes(header.get_best_affine()))
        return f"the header has neither sform nor qform, so the orientation is a guess ({guess}, nibabel's)."
    if int(header["sform_code"]) <= 0 or int(header["qform_code"]) <= 0:
        return None
    try:
        qform = header.get_qform()
    except (ValueError, HeaderDataError) as error:
        return f"the qform is no rotation ({error}); the sform is used."
    d, h, w = header.get_data_shape()[:3]
    sform = Grid((int(d), int(h), int(w)), header.get_sform())
    apart = sform.distance_to(Grid(sform.shape, qform))
    if apart <= TOLERANCE_MM:
        return None
    return (
        f"sform ({_described(sform.affine)}) and qform ({_described(qform)}) put voxels up to {apart:.1f} mm apart; "
        "the sform is used, as nibabel does."
    )


def check_right_angles(grid: Grid, what: object) -> None:
    """Refuses sheared axes: a voxel is then smaller than the product of its spacing, and no length in it is right.

    Args:
        grid: of a volume.
        what: names the volume in the message.

    Raises:
        InputError: two axes are more than `SKEW_DEGREES` from a right angle.
    """
    degrees = grid.skew_degrees
    if degrees > SKEW_DEGREES:
        raise InputError(
            f"{what} has axes that are {degrees:.1f} degrees off right angles (shear, as of a tilted gantry), above "
            f"{SKEW_DEGREES:g}, so that volumes would be wrong; straighten it with dcm2niix from its DICOM files, or "
            "resample it to straight axes."
        )


def _described(affine: NDArray[np.float64]) -> str:
    """Orientation, spacing and origin of an affine."""
    axes = "".join(letter or "?" for letter in nib.orientations.aff2axcodes(affine))
    spacing = " x ".join(f"{mm:.3g}" for mm in np.linalg.norm(affine[:3, :3], axis=0))
    return f"{axes}, spacing {spacing} mm, origin {', '.join(f'{mm:.1f}' for mm in affine[:3, 3])}"
