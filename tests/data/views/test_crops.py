import numpy as np
import pytest
import torch
from torch.nn import functional as F

from kidney_lab.data.views.crops import Magnified, crop_image, crop_label, resample_back

RNG = np.random.default_rng(0)
PLANES = RNG.integers(-900, 900, (3, 40, 50)).astype(np.int16)


def axes(h, w, side, size):
    return Magnified(h, side / size, size), Magnified(w, side / size, size)


def test_pixel_for_pixel_is_a_copy():
    np.testing.assert_array_equal(crop_image(PLANES, 1, 2, *axes(5, 7, 16, 16)), PLANES[1:3, 5:21, 7:23])


@pytest.mark.parametrize("size", [7, 12, 20, 31])
def test_whole_slices_are_resampled_as_torch_does_away_from_the_border(size):
    cropped = crop_image(PLANES[:, :, :40], 0, 3, *axes(0, 0, 40, size))

    image = torch.from_numpy(PLANES[:, :, :40].astype(np.float32))[None]
    expected = F.interpolate(image, size=(size, size), mode="bilinear", antialias=True)[0].numpy()
    inside = np.s_[:, 1:-1, 1:-1]  # there air lies beside, where torch sees nothing
    np.testing.assert_allclose(cropped[inside], expected[inside], atol=0.51)


def test_a_crop_sees_the_slice_beyond_its_own_border():
    whole = crop_image(PLANES, 0, 1, *axes(0, 0, 40, 20))

    part = crop_image(PLANES, 0, 1, *axes(10, 12, 20, 10))

    np.testing.assert_array_equal(part, whole[:, 5:15, 6:16])


def test_beyond_the_slice_lie_air_and_background():
    image = crop_image(PLANES, 0, 1, *axes(-10, 45, 10, 10))
    label = crop_label(np.ones((3, 40, 50), np.uint8), 0, *axes(-10, 45, 10, 10))

    assert (image == -1000).all()
    assert not label.any()
    assert crop_label(np.ones((3, 40, 50), np.uint8), 2, *axes(35, 45, 10, 10)).sum() == 25


def test_labels_are_those_of_the_largest_weight():
    label = np.zeros((1, 8, 8), np.uint8)
    label[0, 2:6, 2:6] = 3
    label[0, 2:4, 2:4] = 2

    assert crop_label(label, 0, *axes(2, 2, 4, 2))[0].tolist() == [[2, 3], [3, 3]]


@pytest.mark.parametrize(("side", "size"), [(30, 12), (12, 30), (16, 16)])
def test_a_linear_slope_comes_back_as_it_was(side, size):
    slope = torch.linspace(0, 1, side)[None, :, None].expand(1, side, side)
    shrunk = F.interpolate(slope[None], size=(size, size), mode="bilinear", antialias=True)[0]
    back = Magnified(0, size / side, side)

    restored = resample_back(shrunk, back, back)

    inner = slice(4, -4)
    assert torch.allclose(restored[0, inner], slope[0, inner], atol=0.02)


def test_probabilities_are_not_rounded_where_the_network_computes_in_half_precision():
    probabilities = torch.rand(1, 16, 16)
    axis = Magnified(0, 1.0, 16)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(resample_back(probabilities, axis, axis), probabilities)
