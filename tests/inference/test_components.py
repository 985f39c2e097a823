import numpy as np
from scipy import ndimage

from kidney_lab.inference import components
from kidney_lab.inference.components import count_voxels, number_components


def test_components_and_their_sizes_are_those_of_scipy():
    mask = np.random.default_rng(0).random((30, 40, 50)) < 0.04
    numbers, n = number_components(mask)

    expected, expected_n = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    assert n == expected_n > 100
    pairs = np.unique(np.stack([numbers[mask], expected[mask]]), axis=1)
    assert pairs.shape == (2, n)  # one to one
    sizes = count_voxels(numbers, n, mask)
    assert sizes[0] == 0
    np.testing.assert_array_equal(np.sort(sizes[1:]), np.sort(np.bincount(expected[mask])[1:]))


def test_voxels_are_counted_in_a_mask_alone_and_piece_by_piece_alike(monkeypatch):
    rng = np.random.default_rng(1)
    mask = rng.random((13, 20, 20)) < 0.05
    counted = rng.random(mask.shape) < 0.5
    numbers, n = number_components(mask)
    at_once = count_voxels(numbers, n, counted)
    monkeypatch.setattr(components, "_COUNTED_AT_ONCE", 3 * 20 * 20)

    np.testing.assert_array_equal(count_voxels(numbers, n, counted), at_once)
    assert at_once[1:].tolist() == [int((counted & (numbers == i)).sum()) for i in range(1, n + 1)]
    assert at_once.sum() == counted.sum()
