"""References: MONAI and MedPy on border voxels, DeepMind's surface-distance on surface elements."""

import math

import numpy as np
import pytest
import scipy.ndimage

from kidney_lab.errors import InputError
from kidney_lab.metrics import surface_dice, surface_distances
from kidney_lab.metrics.distances import average_symmetric_surface_distance, hausdorff_distance
from kidney_lab.metrics.surface import SurfaceDistances, contour_distances

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:surface_distance"),
    pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning"),  # MONAI warns of itself
]

SPACINGS = [(1.0, 1.0, 1.0), (2.5, 0.7, 0.9)]


def random_pair(shape, seed=5):
    rng = np.random.default_rng(seed)
    return [scipy.ndimage.gaussian_filter(rng.normal(size=shape), 1.5) > 0.03 for _ in range(2)]


def single(at, shape=(5, 6, 7)):
    mask = np.zeros(shape, bool)
    mask[at] = True
    return mask


def assert_equals_medpy(ours, prediction, reference, spacing):
    binary = pytest.importorskip("medpy.metric.binary", reason="MedPy is not installed")
    forth, back = binary.asd(prediction, reference, spacing), binary.asd(reference, prediction, spacing)
    expected = {
        "hd": (hausdorff_distance(ours), binary.hd(prediction, reference, spacing)),
        "hd95": (hausdorff_distance(ours, percentile=95, pooled=True), binary.hd95(prediction, reference, spacing)),
        "pooled": (average_symmetric_surface_distance(ours), binary.assd(prediction, reference, spacing)),
        "directed": (average_symmetric_surface_distance(ours, pooled=False), (forth + back) / 2),
    }
    for name, (value, wanted) in expected.items():
        assert value == pytest.approx(wanted, abs=1e-9), name
        assert value > 0


def assert_equals_monai(ours, prediction, reference, spacing):
    import torch
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice

    masks = [torch.as_tensor(mask)[None, None] for mask in (prediction, reference)]
    both = {"include_background": True, "spacing": spacing}
    for value, wanted in [
        (average_symmetric_surface_distance(ours), compute_average_surface_distance(*masks, symmetric=True, **both)),
        (hausdorff_distance(ours), compute_hausdorff_distance(*masks, **both)),
        (hausdorff_distance(ours, percentile=95), compute_hausdorff_distance(*masks, percentile=95, **both)),
        (surface_dice(ours, 1.15), compute_surface_dice(*masks, [1.15], **both)),
    ]:
        assert value == pytest.approx(wanted.item(), rel=1e-5)


def assert_equals_deepmind(ours, prediction, reference, spacing):
    package = pytest.importorskip("surface_distance", reason="surface-distance is not installed")
    theirs = package.compute_surface_distances(reference, prediction, spacing)
    for percentile in (50, 95, 100):
        expected = package.compute_robust_hausdorff(theirs, percentile)
        assert hausdorff_distance(ours, percentile=percentile) == pytest.approx(expected, abs=1e-9)
    directed = package.compute_average_surface_distance(theirs)
    assert average_symmetric_surface_distance(ours, pooled=False) == pytest.approx(np.mean(directed), abs=1e-9)
    areas = [theirs["surfel_areas_gt"].sum(), theirs["surfel_areas_pred"].sum()]
    assert [ours.ref_area.sum(), ours.pred_area.sum()] == pytest.approx(areas, abs=1e-9)
    assert average_symmetric_surface_distance(ours) == pytest.approx(np.average(directed, weights=areas), abs=1e-9)
    expected = package.compute_surface_dice_at_tolerance(theirs, 1.15)
    assert surface_dice(ours, 1.15) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_smooth_masks_that_touch_the_border_equal_all_packages(spacing):
    prediction, reference = random_pair((10, 12, 11))
    voxels = surface_distances(prediction, reference, spacing, surface="voxel")
    assert_equals_medpy(voxels, prediction, reference, spacing)
    assert_equals_monai(voxels, prediction, reference, spacing)
    assert_equals_deepmind(surface_distances(prediction, reference, spacing), prediction, reference, spacing)


@pytest.mark.parametrize("region", [(1, 2, 3), (2,)])
def test_real_masks_equal_all_packages(real_pair, region):
    prediction, reference = (np.isin(labels, region) for labels in real_pair[:2])
    spacing = real_pair[2]
    voxels = surface_distances(prediction, reference, spacing, surface="voxel")
    assert_equals_medpy(voxels, prediction, reference, spacing)
    assert_equals_monai(voxels, prediction, reference, spacing)
    assert_equals_deepmind(surface_distances(prediction, reference, spacing), prediction, reference, spacing)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("seed", range(3))
def test_outlines_of_a_slice_equal_the_packages_in_two_dimensions(spacing, seed):
    prediction, reference = random_pair((13, 15), seed)
    for surface in ("voxel", "surfel"):
        ours = contour_distances(prediction[None], reference[None], spacing, surface=surface)
        if surface == "voxel":
            assert_equals_medpy(ours, prediction, reference, spacing[1:])
            assert_equals_monai(ours, prediction, reference, spacing[1:])
        else:
            assert_equals_deepmind(ours, prediction, reference, spacing[1:])


def test_speckled_slices_have_the_outlines_of_the_package():
    prediction, reference = np.random.default_rng(2).random((2, 9, 8)) < 0.5  # all 16 neighbourhoods
    ours = contour_distances(prediction[None], reference[None], (9.0, 0.7, 1.9))
    assert_equals_deepmind(ours, prediction, reference, (0.7, 1.9))


def test_a_slice_is_no_slab():
    inner, outer = np.zeros((2, 1, 9, 9), bool)
    inner[0, 3:6, 3:6], outer[0, 2:7, 2:7] = True, True
    # outlines: the border of the 3x3 square is one pixel inside that of the 5x5 square, two sets of 8 and 16 pixels
    in_plane = contour_distances(inner, outer, (5.0, 1.0, 1.0), surface="voxel")
    assert sorted(in_plane.pred_to_ref) == [1.0] * 8
    assert sorted(in_plane.ref_to_pred) == [1.0] * 12 + [math.sqrt(2)] * 4
    assert average_symmetric_surface_distance(in_plane) == pytest.approx((20 + 4 * math.sqrt(2)) / 24)
    # as a volume all pixels are surface, so that the smaller square lies on the surface of the larger one
    in_space = surface_distances(inner, outer, (5.0, 1.0, 1.0), surface="voxel")
    assert sorted(in_space.pred_to_ref) == [0.0] * 9


@pytest.mark.parametrize("surface", ["surfel", "voxel"])
def test_single_voxels_are_as_far_apart_as_their_centres(surface):
    masks = single((0, 2, 2)), single((4, 2, 2))
    distances = surface_distances(*masks, (2.0, 1.0, 1.0), surface=surface)
    # four of the eight corners of a voxel face the other one, 6 mm away, and four are 8 mm away; the centres 8 mm
    mean, median = (7.0, 6.0) if surface == "surfel" else (8.0, 8.0)
    assert hausdorff_distance(distances) == hausdorff_distance(distances, percentile=95) == 8.0
    assert hausdorff_distance(distances, percentile=50) == median
    for pooled in (True, False):
        assert average_symmetric_surface_distance(distances, pooled=pooled) == mean


def test_a_spacing_of_one_measures_in_voxels():
    distances = surface_distances(single((0, 2, 2)), single((4, 2, 2)), (1.0, 1.0, 1.0), surface="voxel")
    assert hausdorff_distance(distances) == 4.0


def test_readings_of_one_far_element_of_one_surface_computed_by_hand():
    # 99 elements of the prediction lie on the reference and one is 10 mm off; the reference's 10 elements are all met
    pred, ref = np.append(np.zeros(99), 10.0), np.zeros(10)
    distances = SurfaceDistances(pred, np.ones(100), ref, np.ones(10), "voxel")
    assert average_symmetric_surface_distance(distances) == pytest.approx(10 / 110)
    assert average_symmetric_surface_distance(distances, pooled=False) == pytest.approx((10 / 100 + 0) / 2)
    assert hausdorff_distance(distances) == hausdorff_distance(distances, pooled=True) == 10.0
    assert hausdorff_distance(distances, percentile=99.5) == pytest.approx(5.05)  # rank 98.505 of 0 to 99
    assert hausdorff_distance(distances, percentile=99.5, pooled=True) == pytest.approx(10 * 0.455)  # rank 108.455


def test_large_elements_weigh_more():
    far, near = np.array([0.0, 4.0]), np.array([0.0])
    distances = SurfaceDistances(far, np.array([3.0, 1.0]), near, np.array([4.0]))
    assert average_symmetric_surface_distance(distances) == 4 * 1 / 8
    assert average_symmetric_surface_distance(distances, pooled=False) == (4 * 1 / 4 + 0) / 2
    assert hausdorff_distance(distances, percentile=75) == 0.0  # three quarters of the area are at most 0 away
    assert hausdorff_distance(distances, percentile=76) == 4.0


@pytest.mark.parametrize("surface", ["surfel", "voxel"])
@pytest.mark.parametrize(("predicted", "wanted"), [(False, False), (True, False), (False, True)])
def test_distances_to_an_empty_mask_are_undefined(surface, predicted, wanted):
    prediction, reference = (single((2, 2, 2)) & present for present in (predicted, wanted))
    distances = surface_distances(prediction, reference, (2.0, 1.0, 1.0), surface=surface)
    for pooled in (True, False):
        assert math.isnan(average_symmetric_surface_distance(distances, pooled=pooled))
        assert math.isnan(hausdorff_distance(distances, pooled=pooled))
        assert math.isnan(hausdorff_distance(distances, percentile=95, pooled=pooled))


@pytest.mark.parametrize("percentile", [0, -1, 100.1, math.nan])
def test_a_percentile_out_of_range_is_refused(percentile):
    distances = surface_distances(single((1, 1, 1)), single((1, 1, 1)), (1.0, 1.0, 1.0))
    with pytest.raises(InputError, match="must be above 0 and at most 100"):
        hausdorff_distance(distances, percentile=percentile)


def test_an_unknown_surface_is_refused():
    with pytest.raises(InputError, match="'mesh' is unknown: choose out of surfel, voxel"):
        surface_distances(single((1, 1, 1)), single((1, 1, 1)), (1.0, 1.0, 1.0), surface="mesh")


def test_outlines_of_several_slices_at_once_are_refused():
    with pytest.raises(InputError, match=r"shape \(5, 6, 7\), but outlines are those of one slice"):
        contour_distances(single((1, 1, 1)), single((1, 1, 1)), (1.0, 1.0, 1.0))
