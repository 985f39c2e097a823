"""The reference is DeepMind's package, which cannot take empty masks under NumPy 2: those are computed by hand."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import scipy.ndimage

from kidney_lab.errors import InputError
from kidney_lab.labels import TUMOR
from kidney_lab.metrics import surface_dice, surface_distances
from kidney_lab.metrics.surfels import CORNERS, surfel_areas

surface_distance = pytest.importorskip("surface_distance", reason="surface-distance is not installed")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:surface_distance")

SPACINGS = [(1.0, 1.0, 1.0), (2.5, 0.7, 0.9), (0.5, 3.0, 1.1)]


def assert_equals_package(prediction, reference, spacing_mm, tolerances_mm=(0.0, 0.6, 1.0, 1.15, 4.0)):
    ours = surface_distances(prediction, reference, spacing_mm)
    theirs = surface_distance.compute_surface_distances(reference, prediction, spacing_mm)
    for distances, areas, way, whose in [
        (ours.pred_to_ref, ours.pred_area, "pred_to_gt", "pred"),
        (ours.ref_to_pred, ours.ref_area, "gt_to_pred", "gt"),
    ]:
        order = np.lexsort((areas, distances))
        np.testing.assert_allclose(distances[order], theirs[f"distances_{way}"], atol=1e-9)
        assert areas.sum() == pytest.approx(theirs[f"surfel_areas_{whose}"].sum(), abs=1e-9)
    for tolerance_mm in tolerances_mm:
        expected = surface_distance.compute_surface_dice_at_tolerance(theirs, tolerance_mm)
        assert surface_dice(ours, tolerance_mm) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("spacing_mm", SPACINGS)
def test_areas_of_all_256_neighbourhoods_equal_the_package(spacing_mm):
    tables = surface_distance.metrics.lookup_tables
    weights = [int(tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL[corner]) for corner in CORNERS]
    theirs = np.array(tables.create_table_neighbour_code_to_surface_area(spacing_mm))
    same_code = [sum(weight for bit, weight in enumerate(weights) if code >> bit & 1) for code in range(256)]
    np.testing.assert_allclose(surfel_areas(spacing_mm), theirs[same_code], rtol=1e-12)


@pytest.mark.parametrize("spacing_mm", SPACINGS)
@pytest.mark.parametrize("density", [0.02, 0.3, 0.8])
def test_random_masks_equal_the_package_up_to_the_border(spacing_mm, density):
    rng = np.random.default_rng(7)
    prediction, reference = rng.random((2, 6, 8, 7)) < density
    assert_equals_package(prediction, reference, spacing_mm)


@pytest.mark.parametrize("spacing_mm", SPACINGS)
def test_smooth_masks_equal_the_package(spacing_mm):
    rng = np.random.default_rng(3)
    prediction, reference = (scipy.ndimage.gaussian_filter(rng.normal(size=(14, 18, 16)), 2) > 0.02 for _ in range(2))
    assert_equals_package(prediction, reference, spacing_mm)


def test_masks_that_fill_the_volume_equal_the_package():
    full, hollow = np.ones((4, 5, 6), dtype=bool), np.ones((4, 5, 6), dtype=bool)
    hollow[1:3, 2, 2:4] = False
    assert_equals_package(hollow, full, (2.0, 1.0, 0.5))


def test_single_voxels_are_as_far_apart_as_their_centres():
    prediction, reference = np.zeros((2, 5, 5, 5), dtype=bool)
    prediction[0, 2, 2] = reference[4, 2, 2] = True
    distances = surface_distances(prediction, reference, (2.0, 1.0, 1.0))
    # each voxel has eight corners; the four that face the other are 3 slices away, the others 4
    assert sorted(distances.pred_to_ref) == [6.0] * 4 + [8.0] * 4
    assert distances.pred_area == pytest.approx([1.5 / 8 * 2] * 8)  # |(1 * 1, 2 * 1, 2 * 1)| / 8
    assert surface_dice(distances, 6.0) == 0.5
    assert surface_dice(distances, 5.9) == 0.0
    assert_equals_package(prediction, reference, (2.0, 1.0, 1.0))


def test_cubes_shifted_by_one_voxel_agree_at_one_voxel_of_tolerance():
    prediction, reference = np.zeros((2, 8, 8, 8), dtype=bool)
    prediction[2:5, 2:5, 2:5] = reference[3:6, 2:5, 2:5] = True
    distances = surface_distances(prediction, reference, (1.0, 1.0, 1.0))
    # Of the 4x4x4 corners of a cube 56 lie on its surface. The 16 on the side away from the other cube are 1 mm away
    # from it; of the 16 on the opposite side the ring is shared, and the 4 inner ones are inside the other cube, 1 mm
    # below its surface; the rings between are shared.
    assert np.bincount(distances.pred_to_ref.astype(int)).tolist() == [36, 20]
    assert surface_dice(distances, 1.0) == 1.0
    assert 0.5 < surface_dice(distances, 0.99) < 1.0
    assert_equals_package(prediction, reference, (1.0, 1.0, 1.0))


@pytest.mark.parametrize(("prediction", "reference", "expected"), [(0, 0, 1.0), (1, 0, 0.0), (0, 1, 0.0)])
def test_empty_masks_follow_the_rule_of_the_challenge(prediction, reference, expected):
    masks = np.zeros((2, 4, 4, 4), dtype=bool)
    masks[0, 1, 1, 1], masks[1, 1, 1, 1] = prediction, reference
    distances = surface_distances(*masks, (1.0, 1.0, 1.0))
    assert surface_dice(distances, 1.0) == expected
    assert len(distances.pred_to_ref) == 8 * prediction
    assert np.isinf(distances.pred_to_ref).all()
    assert np.isinf(distances.ref_to_pred).all()


@pytest.mark.parametrize("shapes", [((4, 4, 4), (4, 4, 5)), ((4, 4), (4, 4))])
def test_arrays_that_do_not_match_are_refused(shapes):
    with pytest.raises(InputError, match="must be the same"):
        surface_distances(np.ones(shapes[0], bool), np.ones(shapes[1], bool), (1.0, 1.0, 1.0))


@pytest.mark.parametrize("spacing_mm", [(1.0, 0.0, 1.0), (1.0, 1.0), (1.0, float("nan"), 1.0)])
def test_spacing_that_is_not_positive_is_refused(spacing_mm):
    with pytest.raises(InputError, match="three positive numbers"):
        surface_distances(np.ones((2, 2, 2), bool), np.ones((2, 2, 2), bool), spacing_mm)


@pytest.mark.parametrize("case", ["kits19/case_00002", "kits23/case_00038"])
def test_real_masks_equal_the_package(shared_data: Path, case: str):
    file = nib.load(shared_data / case / "segmentation.nii.gz")
    labels = np.asanyarray(file.dataobj)
    spacing_mm = tuple(float(step) for step in np.linalg.norm(file.affine[:3, :3], axis=0))
    centre = np.round(np.mean(np.nonzero(labels == TUMOR), axis=1)).astype(int)
    reference = labels[tuple(slice(max(at - 20, 0), at + 20) for at in centre)] > 0
    prediction = np.roll(scipy.ndimage.binary_erosion(reference), 1, axis=2)
    assert reference.sum() > 100
    assert_equals_package(prediction, reference, spacing_mm)
