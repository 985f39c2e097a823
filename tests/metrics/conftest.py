"""Label maps that several tests of metrics share, real ones and small ones."""

from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import scipy.ndimage

from kidney_lab.geometry import Volume, grid_from_spacing, reorient
from kidney_lab.labels import KIDNEY, TUMOR


@pytest.fixture(scope="session", params=["kits19/case_00002", "kits23/case_00038"])
def real_pair(request, shared_data):
    """Prediction and reference around a real tumor, both cut by the border of the array, and the spacing in mm."""
    file = nib.load(shared_data / request.param / "segmentation.nii.gz")
    labels = np.asanyarray(file.dataobj).astype(np.uint8)
    centre = np.round(np.mean(np.nonzero(labels == TUMOR), axis=1)).astype(int)
    reference = labels[tuple(slice(max(at - 18, 0), at + 18) for at in centre)]
    shifted = np.roll(reference, (1, -2), axis=(0, 2))
    prediction = np.where(scipy.ndimage.binary_opening(shifted == TUMOR), TUMOR, np.minimum(shifted, KIDNEY))
    return prediction.astype(np.uint8), reference, tuple(float(s) for s in np.linalg.norm(file.affine[:3, :3], axis=0))


SHAPE, SPACING_MM = (8, 12, 14), (3.0, 0.8, 0.8)


def mask(shift=0):
    """A kidney with a tumor of 2 x 3 x 3 voxels and a cyst of one, moved by some rows."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:6, 3 + shift : 9 + shift, 3:10] = 1
    labels[3:5, 4 + shift : 7 + shift, 4:7] = 2
    labels[5, 7 + shift, 8] = 3
    return labels


def write(path, labels=None, *, spacing=SPACING_MM, orientation=None, moved_mm=0.0):
    labels = mask() if labels is None else labels
    volume = Volume(labels, grid_from_spacing(labels.shape, spacing))
    if orientation is not None:
        volume = reorient(volume, orientation)
    affine = volume.grid.affine.copy()
    affine[0, 3] += moved_mm
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(volume.array, affine), path)
    return path


def layout(root, kind, numbers=(0, 12)):
    """Writes the same masks in one of the layouts that users have."""
    for number in numbers:
        name = {
            "kits": f"case_{number:05d}/segmentation.nii.gz",
            "kits21": f"case_{number:05d}/aggregated_MAJ_seg.nii.gz",
            "case": f"case_{number:05d}.nii.gz",
            "nnunet": f"KiTS_{number:05d}.nii.gz",
            "plain": f"case_{number:05d}.nii",
        }[kind]
        write(root / name)
    return root


@pytest.fixture(scope="session")
def label_maps():
    """Small label maps: `mask`, and files of them by `write` and `layout`."""
    return SimpleNamespace(mask=mask, write=write, layout=layout, spacing_mm=SPACING_MM)
