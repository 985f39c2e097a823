import math

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from kidney_lab.errors import InputError
from kidney_lab.metrics.ambiguity import border_gradient, split_at_median

SPACING_MM = (3.0, 0.8, 0.6)


def ball(shape=(24, 70, 80), radius_mm=14.0):
    centre = (np.array(shape) - 1) / 2
    offsets = (np.indices(shape).T - centre) * SPACING_MM
    distance = np.linalg.norm(offsets, axis=-1).T
    return distance <= radius_mm


def test_a_ramp_has_its_own_slope_everywhere():
    slopes = np.array([2.0, -5.0, 4.0])  # HU per mm along each axis
    position = np.indices((24, 70, 80)).T * SPACING_MM
    image = (position @ slopes).T
    expected = pytest.approx(np.linalg.norm(slopes), rel=1e-4)
    assert border_gradient(image, ball(), SPACING_MM) == expected
    assert border_gradient(image, ball(), SPACING_MM, sigma_mm=0) == expected


def test_a_step_between_slices_of_equal_height_gives_half_of_it_per_voxel():
    """Central differences span two voxels, and the border has one voxel on each side."""
    mask = np.zeros((8, 6, 6), bool)
    mask[:4] = True  # cut by the scan's end on all sides but one
    assert border_gradient(mask * 120.0, mask, (3.0, 1.0, 1.0), sigma_mm=0) == pytest.approx(120 / (2 * 3.0))


def test_a_smoothed_step_has_the_height_of_a_gaussian():
    mask = np.zeros((4, 4, 400), bool)
    mask[..., 200:] = True
    spacing_mm, sigma_mm = (1.0, 1.0, 0.05), 1.0
    expected = 100 / (sigma_mm * math.sqrt(2 * math.pi))  # derivative of an error function at its middle
    assert border_gradient(mask * 100.0, mask, spacing_mm, sigma_mm=sigma_mm) == pytest.approx(expected, rel=2e-3)


def test_only_the_border_and_its_surroundings_count():
    image = np.random.default_rng(0).normal(30, 20, (24, 70, 80)).astype(np.float32)
    changed = image.copy()
    changed[:2] = changed[:, :, :4] = 1000.0  # farther than the Gaussian reaches
    assert border_gradient(changed, ball(radius_mm=12), SPACING_MM) == border_gradient(
        image, ball(radius_mm=12), SPACING_MM
    )


def test_the_box_around_the_region_gives_what_the_whole_image_gives():
    image, mask, sigma_mm = np.random.default_rng(1).normal(0, 20, (24, 70, 80)), ball(), 1.0
    smooth = ndimage.gaussian_filter(image, sigma_mm / np.array(SPACING_MM), mode="nearest")
    magnitude = np.sqrt(sum(g**2 for g in np.gradient(smooth, *SPACING_MM)))
    border = (mask & ~ndimage.binary_erosion(mask)) | (ndimage.binary_dilation(mask) & ~mask)
    assert border_gradient(image, mask, SPACING_MM) == pytest.approx(magnitude[border].mean(), rel=1e-5)


def test_a_blurred_border_is_less_steep_in_spite_of_noise():
    noise = np.random.default_rng(2).normal(0, 15, (24, 70, 80))
    crisp = ball() * 100.0
    blurry = ndimage.gaussian_filter(crisp, 3.0 / np.array(SPACING_MM))
    assert border_gradient(crisp + noise, ball(), SPACING_MM) > 1.3 * border_gradient(
        blurry + noise, ball(), SPACING_MM
    )


def test_a_region_without_a_border_is_undefined():
    image = np.zeros((4, 5, 6))
    assert math.isnan(border_gradient(image, np.zeros(image.shape), SPACING_MM))
    assert math.isnan(border_gradient(image, np.ones(image.shape), SPACING_MM))


def test_a_single_slice_has_a_gradient_within_the_slice():
    image = np.broadcast_to(np.arange(9.0) * 10, (1, 7, 9))
    mask = np.zeros(image.shape, bool)
    mask[0, 2:5, 3:6] = True
    assert border_gradient(image, mask, (5.0, 1.0, 2.0), sigma_mm=0) == pytest.approx(5)


def test_an_image_of_another_shape_is_refused():
    with pytest.raises(InputError, match=r"image has shape \(3, 5, 6\) and its reference \(4, 5, 6\)"):
        border_gradient(np.zeros((3, 5, 6)), np.zeros((4, 5, 6)), SPACING_MM)


def test_cases_are_split_at_the_median_which_is_returned():
    classes, threshold = split_at_median(pd.Series([30.0, 10.0, math.nan, 20.0, 50.0], list("abcde")))
    assert threshold == 25
    assert classes.to_dict() == {"a": "crisp", "b": "blurry", "c": None, "d": "blurry", "e": "crisp"}


def test_the_median_case_is_crisp_and_no_value_gives_no_threshold():
    classes, threshold = split_at_median(pd.Series([1.0, 2.0, 3.0]))
    assert (classes.tolist(), threshold) == (["blurry", "crisp", "crisp"], 2)
    classes, threshold = split_at_median(pd.Series([math.nan]))
    assert classes.tolist() == [None]
    assert math.isnan(threshold)
