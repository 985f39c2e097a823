"""Real label maps that several tests of metrics share."""

import nibabel as nib
import numpy as np
import pytest
import scipy.ndimage

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
