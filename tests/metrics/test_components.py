import json
from itertools import product

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from kidney_lab.data.nifti import read_volume
from kidney_lab.geometry import reorient
from kidney_lab.labels import TUMOR
from kidney_lab.metrics.components import SPECK_ML, axial_diameter_mm, connected_components

SPACING_MM = (5.0, 0.8, 0.6)


def slow_diameter_mm(mask, spacing_mm):
    """Every corner of every voxel with every other, slice by slice."""
    farthest = 0.0
    for plane in mask:
        corners = [(h + a, w + b) for h, w in np.argwhere(plane) for a, b in product((0, 1), repeat=2)]
        if corners:
            farthest = max(farthest, float(pdist(np.array(corners) * spacing_mm[1:]).max()))
    return farthest


def test_diameter_goes_from_corner_to_corner():
    one, row = np.zeros((1, 3, 12), bool), np.zeros((1, 3, 12), bool)
    one[0, 1, 5] = True
    row[0, 1, 1:11] = True
    assert axial_diameter_mm(one, (3.0, 1.0, 1.0)) == pytest.approx(np.sqrt(2))
    assert axial_diameter_mm(row, (3.0, 1.0, 1.0)) == pytest.approx(np.hypot(10, 1))
    assert axial_diameter_mm(row, (3.0, 2.0, 0.5)) == pytest.approx(np.hypot(5, 2))
    assert axial_diameter_mm(one[:, :, :0], SPACING_MM) == 0


def test_diameter_is_that_of_all_corners_in_one_slice():
    rng = np.random.default_rng(0)
    for _ in range(10):
        mask = rng.random((4, 9, 11)) < 0.1
        assert axial_diameter_mm(mask, SPACING_MM) == pytest.approx(slow_diameter_mm(mask, SPACING_MM), abs=1e-12)


def test_diameter_of_a_ball_is_its_diameter_to_a_voxel():
    grid = np.indices((21, 81, 81)) - np.array([10, 40, 40]).reshape(3, 1, 1, 1)
    ball = np.linalg.norm(grid * np.array([2.0, 0.5, 0.5]).reshape(3, 1, 1, 1), axis=0) <= 15
    assert 30 <= axial_diameter_mm(ball, (2.0, 0.5, 0.5)) <= 30 + np.hypot(0.5, 0.5)


def test_height_over_the_slices_does_not_count():
    column = np.ones((50, 2, 2), bool)
    assert axial_diameter_mm(column, (5.0, 1.0, 1.0)) == pytest.approx(np.sqrt(8))


def test_voxels_that_touch_by_a_corner_are_one_component_and_others_are_not():
    mask = np.zeros((4, 8, 8), np.uint8)
    mask[0, 0, 0] = mask[1, 1, 1] = 1  # by a corner
    mask[1:3, 5:7, 4:7] = 1
    mask[3, 0, 7] = 1  # two voxels from any other
    found = connected_components(mask, SPACING_MM)
    assert [int(component.mask.sum()) for component in found] == [12, 2, 1]
    rebuilt = np.zeros(mask.shape, int)
    for component in found:
        rebuilt[component.box] += component.mask
    np.testing.assert_array_equal(rebuilt, mask)
    assert found[0].box == (slice(1, 3), slice(5, 7), slice(4, 7))
    assert found[0].volume_ml == pytest.approx(12 * 5 * 0.8 * 0.6 / 1000)
    assert found[0].diameter_mm == pytest.approx(np.hypot(2 * 0.8, 3 * 0.6))


def test_nested_boxes_are_kept_apart():
    mask = np.zeros((1, 7, 7), bool)
    mask[0] = True
    mask[0, 1:6, 1:6] = False
    mask[0, 3, 3] = True  # within the box of the ring
    ring, dot = connected_components(mask, SPACING_MM)
    assert (ring.mask.sum(), dot.mask.sum()) == (24, 1)


def test_an_empty_mask_has_no_components():
    assert connected_components(np.zeros((3, 4, 5)), SPACING_MM) == []


def test_a_speck_is_smaller_than_a_ball_of_5_mm():
    assert pytest.approx(0.06545, abs=1e-5) == SPECK_ML


def test_real_tumors_are_as_large_as_the_clinical_table_says(shared_data):
    """Over 120 cases the median ratio is 1.10."""
    patients = json.loads((shared_data / "kits19" / "kits.json").read_text())
    size_cm = {patient["case_id"]: patient["radiographic_size"] for patient in patients}
    ratios = []
    for number in (4, 7, 11, 21, 34, 48, 58, 61):
        label = reorient(read_volume(shared_data / "kits19" / f"case_{number:05d}" / "segmentation.nii.gz"))
        largest = connected_components(label.array == TUMOR, label.grid.spacing)[0]
        ratios.append(largest.diameter_mm / 10 / size_cm[f"case_{number:05d}"])
    assert 1 < np.median(ratios) < 1.2
    assert np.std(ratios) < 0.2
