import numpy as np
import pytest

from kidney_lab.data.foreground import find_foreground, foreground_box, load_foreground, save_foreground

IMAGE = np.random.default_rng(0).integers(-1024, 3072, (40, 50, 50)).astype(np.int16)


def test_voxels_are_sampled_uniformly_and_the_same_for_the_same_seed():
    label = np.zeros((40, 50, 50), np.uint8)
    label[:, :25] = 1  # 50,000 voxels

    samples = find_foreground(IMAGE, label, seed=3).samples[1]

    np.testing.assert_array_equal(samples, find_foreground(IMAGE, label, seed=3).samples[1])
    assert not np.array_equal(samples, find_foreground(IMAGE, label, seed=4).samples[1])
    np.testing.assert_allclose(samples.mean(axis=0), [19.5, 12, 24.5], atol=0.5)


def test_samples_slices_and_box_are_in_the_volumes_coordinates():
    label = np.zeros((40, 50, 50), np.uint8)
    label[7:9, 20:22, 30] = 1
    label[30, 10, 40:43] = 2

    found = find_foreground(IMAGE, label, seed=0)

    np.testing.assert_array_equal(found.samples[1], np.argwhere(label == 1))
    np.testing.assert_array_equal(found.samples[2], np.argwhere(label == 2))
    assert {value: slices.tolist() for value, slices in found.slices.items()} == {1: [7, 8], 2: [30]}
    assert found.box == (slice(7, 31), slice(10, 22), slice(30, 43))
    np.testing.assert_array_equal(np.repeat(found.values, found.counts), np.sort(IMAGE[label > 0]))


@pytest.mark.parametrize("label", [None, np.zeros((3, 3, 3), np.uint8)])
def test_without_labels_there_is_no_foreground(label, tmp_path):
    found = find_foreground(np.zeros((3, 3, 3), np.int16), label, seed=0)
    save_foreground(tmp_path / "foreground.npz", found)

    for foreground in (found, load_foreground(tmp_path / "foreground.npz")):
        assert foreground.samples == foreground.slices == {}
        assert foreground.box is None
        assert foreground.counts.size == 0


def test_the_box_spans_every_label():
    label = np.zeros((4, 5, 6), np.uint8)
    label[1, 2, 3], label[3, 0, 5] = 3, 1

    assert foreground_box(label) == (slice(1, 4), slice(0, 3), slice(3, 6))


def test_a_foreground_comes_back_as_it_was_written(tmp_path):
    label = np.random.default_rng(1).integers(0, 4, IMAGE.shape).astype(np.uint8)
    found = find_foreground(IMAGE, label, seed=0)

    save_foreground(tmp_path / "foreground.npz", found)
    again = load_foreground(tmp_path / "foreground.npz")

    assert again.box == found.box
    assert (again.samples.keys(), again.slices.keys()) == ({1, 2, 3}, {1, 2, 3})
    for value in (1, 2, 3):
        np.testing.assert_array_equal(again.samples[value], found.samples[value])
        np.testing.assert_array_equal(again.slices[value], found.slices[value])
    np.testing.assert_array_equal(again.values, found.values)
    np.testing.assert_array_equal(again.counts, found.counts)
