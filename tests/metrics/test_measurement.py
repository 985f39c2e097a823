import numpy as np
import pytest

from kidney_lab.metrics.measurement import Measurement
from kidney_lab.metrics.overlap import Confusion
from kidney_lab.metrics.surface import contour_distances, surface_distances

SPACING_MM = (3.0, 1.0, 1.0)


@pytest.fixture
def masks():
    prediction, reference = np.zeros((2, 1, 6, 6), bool)
    prediction[0, 1:4, 1:4], reference[0, 2:5, 1:4] = True, True
    return prediction, reference


def test_voxels_outside_the_box_that_was_cut_out_are_background(masks):
    counts = Measurement(*masks, SPACING_MM, 1.0, voxels=1000).counts
    assert counts == Confusion(tp=6, fp=3, fn=3, tn=988)


@pytest.mark.parametrize("surface", ["surfel", "voxel"])
@pytest.mark.parametrize(("in_plane", "measure"), [(False, surface_distances), (True, contour_distances)])
def test_a_slice_is_measured_in_its_plane(masks, surface, in_plane, measure):
    found = Measurement(*masks, SPACING_MM, 1.0, voxels=36, surface=surface, in_plane=in_plane).distances
    expected = measure(*masks, SPACING_MM, surface=surface)
    np.testing.assert_array_equal(found.pred_to_ref, expected.pred_to_ref)
    np.testing.assert_array_equal(found.ref_area, expected.ref_area)


def test_everything_is_computed_once(masks):
    measurement = Measurement(*masks, SPACING_MM, 1.0, voxels=36)
    assert measurement.distances is measurement.distances
    assert measurement.counts is measurement.counts
    assert measurement.lesions is measurement.lesions
