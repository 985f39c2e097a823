import numpy as np
import pytest
import torch
from monai.transforms.utils import create_rotate
from scipy.ndimage import map_coordinates

from kidney_lab.errors import InputError
from kidney_lab.transforms.deformation import Deformation, control_shape, displacement, sampling_grid
from kidney_lab.transforms.resampling import fit, foreground_box, sample_image, sample_label

CPU = torch.device("cpu")
SHAPE, SOURCE = (9, 12, 10), (15, 18, 16)


def deformation(seed, *, elastic=True):
    rng = np.random.default_rng(seed)
    matrix = create_rotate(3, rng.uniform(-0.6, 0.6, 3))[:3, :3] @ np.diag(rng.uniform(0.7, 1.4, 3))
    spacing = (6.0, 5.0, 7.0)
    control = rng.uniform(-2, 2, (3, *control_shape(SHAPE, spacing))).astype(np.float32)
    return Deformation(matrix, control, spacing) if elastic else Deformation(matrix)


def coordinates(change):
    """Source index of every voxel, computed in float64 without a sampling grid."""
    at = np.stack(np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in SHAPE], indexing="ij"))
    if change.control is not None:
        at = at + displacement(torch.from_numpy(change.control), SHAPE, change.spacing).numpy()
    return np.tensordot(change.matrix, at, 1) + (np.reshape(SOURCE, (3, 1, 1, 1)) - 1) / 2


def blobs(seed=0, labels=3):
    """Random label map with smooth borders of three labels and background."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, labels + 1, (4, 5, 4))
    label = coarse.repeat(4, 0).repeat(4, 1).repeat(4, 2)[: SOURCE[0], : SOURCE[1], : SOURCE[2]]
    return torch.from_numpy(label.astype(np.uint8))[None]


@pytest.mark.parametrize("elastic", [False, True])
def test_images_are_scipy_s_linear_interpolation_at_the_same_places(elastic):
    change = deformation(1, elastic=elastic)
    image = torch.randn(2, *SOURCE, generator=torch.Generator().manual_seed(0))

    got = sample_image(image, sampling_grid(change, SHAPE, SOURCE, CPU)).numpy()

    for channel in range(2):
        # grid-constant interpolates towards the 0 beyond the border, as torch does
        want = map_coordinates(image[channel].numpy(), coordinates(change), order=1, mode="grid-constant")
        np.testing.assert_allclose(got[channel], want, atol=2e-4)


@pytest.mark.parametrize("seed", range(5))
def test_linear_labels_are_the_largest_of_the_interpolated_one_hot_maps(seed):
    change, label = deformation(seed), blobs(seed)

    got = sample_label(label, sampling_grid(change, SHAPE, SOURCE, CPU), "linear")[0].numpy()

    places = coordinates(change)
    one_hot = [(label[0] == k).double().numpy() for k in range(1, 4)]
    shares = np.stack([map_coordinates(one, places, order=1, mode="grid-constant") for one in one_hot])
    shares = np.concatenate([1 - shares.sum(0, keepdims=True), shares])
    clear = np.diff(np.sort(shares, axis=0)[-2:], axis=0)[0] > 1e-4  # ties within rounding may fall either way
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(got[clear], shares.argmax(0)[clear])


@pytest.mark.parametrize("seed", range(5))
def test_nearest_labels_are_those_of_the_nearest_voxels(seed):
    change, label = deformation(seed), blobs(seed)

    got = sample_label(label, sampling_grid(change, SHAPE, SOURCE, CPU), "nearest")[0].numpy()

    places = coordinates(change)
    clear = np.all(np.abs(places % 1 - 0.5) > 1e-3, axis=0)
    want = map_coordinates(label[0].numpy(), places, order=0, mode="grid-constant")
    np.testing.assert_array_equal(got[clear], want[clear])


def test_labels_far_apart_and_missing_in_between_keep_their_numbers():
    label = torch.zeros(1, *SOURCE, dtype=torch.uint8)
    label[0, 3:9, 3:9, 3:9] = 2
    label[0, 6:12, 10:15, 6:12] = 200

    got = sample_label(label, sampling_grid(Deformation(np.eye(3)), SOURCE, SOURCE, CPU))

    assert got.dtype == torch.uint8
    assert torch.equal(got, label)


def test_a_label_map_without_foreground_stays_empty():
    label = torch.zeros(1, *SOURCE, dtype=torch.uint8)

    assert not sample_label(label, sampling_grid(deformation(0), SHAPE, SOURCE, CPU)).any()
    assert foreground_box(label[0]) is None


def test_foreground_that_nothing_reads_gives_background():
    label = torch.zeros(1, *SOURCE, dtype=torch.uint8)
    label[0, 0, 0, 0] = 1

    assert not sample_label(label, sampling_grid(Deformation(0.1 * np.eye(3)), SHAPE, SOURCE, CPU)).any()


def test_several_channels_are_no_label_map():
    label = torch.ones(2, *SOURCE, dtype=torch.uint8)

    with pytest.raises(InputError, match="has 2 channels instead of one: give its key the mode bilinear"):
        sample_label(label, sampling_grid(deformation(0), SHAPE, SOURCE, CPU))


def test_the_foreground_box_is_the_tightest():
    label = torch.zeros(1, 6, 7, 8, dtype=torch.uint8)
    label[0, 2, 5, 1] = label[0, 4, 3, 7] = 3

    assert foreground_box(label[0]) == (slice(2, 5), slice(3, 6), slice(1, 8))


class TestFit:
    IMAGE = torch.arange(24.0).reshape(1, 4, 6)

    def test_crops_the_centre_as_a_view(self):
        cropped = fit(self.IMAGE, (2, 4), "bilinear")

        assert torch.equal(cropped, self.IMAGE[:, 1:3, 1:5])
        assert cropped.data_ptr() == self.IMAGE[:, 1:3, 1:5].data_ptr()

    def test_pads_images_with_their_border_and_labels_with_0(self):
        padded = fit(self.IMAGE, (6, 4), "bilinear")
        label = fit((self.IMAGE + 1).to(torch.uint8), (6, 4), "linear")

        np.testing.assert_array_equal(padded[0], np.pad(self.IMAGE[0, :, 1:5], ((1, 1), (0, 0)), mode="edge"))
        np.testing.assert_array_equal(label[0], np.pad(self.IMAGE[0, :, 1:5] + 1, ((1, 1), (0, 0))))

    def test_pads_3d_axes_in_their_order(self):
        image = torch.randn(2, 3, 4, 5)

        padded = fit(image, (5, 8, 11), "bilinear")

        np.testing.assert_array_equal(padded, np.pad(image, ((0, 0), (1, 1), (2, 2), (3, 3)), mode="edge"))
