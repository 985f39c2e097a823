from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional as F

from kidney_lab.data.prepare import GridRecipe, prepare_image, prepare_label
from kidney_lab.data.views.window import whole
from kidney_lab.geometry import Volume, grid_from_spacing
from kidney_lab.inference import restore
from kidney_lab.inference.restore import resample_labels, slabs_of
from kidney_lab.inference.slabs import label_map
from kidney_lab.inference.stage_output import StageOutput
from kidney_lab.methods.output import build_output
from kidney_lab.methods.prediction import Prediction

SPACING = (3.0, 0.8, 0.8)


def most_probable(probabilities: torch.Tensor) -> torch.Tensor:
    return probabilities.argmax(dim=0).to(torch.uint8)


def random_probabilities(channels, shape, seed=0) -> torch.Tensor:
    return torch.rand((channels, *shape), generator=torch.Generator().manual_seed(seed))


def everywhere(probabilities: torch.Tensor) -> Prediction:
    """The prediction of a whole grid."""
    shape = tuple(probabilities.shape[1:])
    return Prediction.held(probabilities, whole(shape), shape)


def prepared(source, crop=None) -> SimpleNamespace:
    """What `StageOutput` reads of a prepared image."""
    crop = crop or tuple(slice(0, n) for n in source)
    return SimpleNamespace(source=grid_from_spacing(source, SPACING), crop=crop)


def restore_labels(prediction, prepared, decide) -> np.ndarray:
    """The label map of a stage on the grid that the image came on."""
    stage = SimpleNamespace(module=SimpleNamespace(output=SimpleNamespace(decide=decide)))
    return label_map(StageOutput(stage, lambda: prepared, lambda _: prediction))


def decided_after(interpolated: np.ndarray) -> np.ndarray:
    return most_probable(torch.from_numpy(np.ascontiguousarray(interpolated))).numpy()


def sure(interpolated: np.ndarray) -> np.ndarray:
    """Where the winner leads by more than rounding errors."""
    ordered = np.sort(interpolated, axis=0)
    return ordered[-1] - ordered[-2] > 1e-5


@pytest.mark.parametrize(
    ("stored", "original"),
    [((5, 6, 7), (11, 13, 9)), ((9, 8, 7), (5, 6, 4)), ((4, 6, 5), (37, 6, 5)), ((4, 6, 5), (4, 12, 11)),
     ((1, 6, 5), (4, 9, 9)), ((6, 1, 5), (9, 3, 4)), ((3, 4, 5), (1, 4, 9)), ((2, 2, 2), (3, 5, 7))],
)  # fmt: skip
def test_labels_are_decided_on_trilinearly_interpolated_probabilities(stored, original):
    probabilities = random_probabilities(4, stored)

    restored = restore_labels(everywhere(probabilities), prepared(original), most_probable)

    reference = F.interpolate(probabilities[None].double(), size=original, mode="trilinear", align_corners=False)[0]
    zooms = [m / n for n, m in zip(stored, original, strict=True)]
    scipy = np.stack(
        [ndimage.zoom(p, zooms, order=1, mode="nearest", grid_mode=True) for p in probabilities.double().numpy()]
    )
    np.testing.assert_allclose(scipy, reference, atol=1e-12)
    certain = sure(scipy)
    assert certain.mean() > 0.99
    np.testing.assert_array_equal(restored[certain], decided_after(scipy)[certain])
    assert restored.dtype == np.uint8
    assert restored.shape == original


@pytest.mark.parametrize("slab", [1, 3, 1000])
def test_borders_of_slabs_are_invisible(monkeypatch, slab):
    probabilities = random_probabilities(3, (7, 6, 5))
    usual = restore_labels(everywhere(probabilities), prepared((40, 9, 8)), most_probable)

    monkeypatch.setattr(restore, "SLAB", slab)

    np.testing.assert_array_equal(restore_labels(everywhere(probabilities), prepared((40, 9, 8)), most_probable), usual)


def test_equal_shapes_are_decided_voxel_by_voxel():
    probabilities = random_probabilities(4, (20, 6, 7))

    restored = restore_labels(everywhere(probabilities), prepared((20, 6, 7)), most_probable)

    np.testing.assert_array_equal(restored, most_probable(probabilities))


def test_the_crop_goes_to_its_place_and_outside_is_background():
    probabilities = random_probabilities(4, (4, 5, 6))
    crop = (slice(3, 7), slice(2, 7), slice(1, 7))

    restored = restore_labels(everywhere(probabilities), prepared((9, 10, 8), crop), most_probable)

    np.testing.assert_array_equal(restored[crop], most_probable(probabilities))
    restored[crop] = 0
    assert not restored.any()


def test_no_more_than_a_slab_is_decided_at_a_time():
    shapes = []

    def decide(slab: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(slab.shape))
        return most_probable(slab)

    restore_labels(everywhere(random_probabilities(2, (4, 5, 6))), prepared((35, 10, 8)), decide)

    assert shapes == [(2, 16, 10, 8), (2, 16, 10, 8), (2, 3, 10, 8)]


@pytest.mark.parametrize("kind", ["labels", "regions"])
@pytest.mark.parametrize("spacing", [(1.7, 1.13, 1.13), (3.0, 1.0, 1.0), None])
def test_a_blob_prepared_and_restored_stays_where_it_was(kind, spacing):
    shape = (23, 61, 57)
    d, h, w = np.ogrid[: shape[0], : shape[1], : shape[2]]
    image = np.full(shape, -1000, np.int16)
    image[2:21, 8:51, 5:49] = 40
    blob = ((d - 10.2) * 2.3) ** 2 + ((h - 29.6) * 0.77) ** 2 + ((w - 21.3) * 0.77) ** 2 < 11**2
    core = ((d - 10.2) * 2.3) ** 2 + ((h - 29.6) * 0.77) ** 2 + ((w - 21.3) * 0.77) ** 2 < 7**2
    label = blob.astype(np.uint8) + core
    made = prepare_image(Volume(image, grid_from_spacing(shape, (2.3, 0.77, 0.77))), GridRecipe(spacing=spacing))
    small = torch.from_numpy(prepare_label(label, made))
    output = build_output(kind, labels=["kidney", "tumor"], regions=["kidney_and_mass", "tumor"])
    channels = [small == 0, small == 1, small == 2] if kind == "labels" else [small > 0, small == 2]

    restored = restore_labels(everywhere(torch.stack(channels).float()), made, output.decide)

    assert made.crop != tuple(slice(0, n) for n in shape)  # the blob is cropped out and put back
    for value in (1, 2):
        inside, wanted = restored >= value, label >= value
        assert 2 * (inside & wanted).sum() / (inside.sum() + wanted.sum()) > 0.9
        moved = np.subtract(ndimage.center_of_mass(inside), ndimage.center_of_mass(wanted))
        assert np.abs(moved).max() < 0.5


BOXES = {
    "inside": (slice(2, 5), slice(1, 4), slice(3, 6)),
    "at the first corner": (slice(0, 3), slice(0, 2), slice(0, 4)),
    "at the last corner": (slice(4, 7), slice(3, 6), slice(2, 8)),
    "one voxel": (slice(3, 4), slice(2, 3), slice(5, 6)),
    "everything": (slice(0, 7), slice(0, 6), slice(0, 8)),
}


@pytest.mark.parametrize("name", BOXES)
@pytest.mark.parametrize("shape", [(19, 13, 20), (7, 6, 8), (4, 5, 3), (40, 6, 8), (7, 11, 9)])
def test_a_box_is_resampled_as_the_volume_with_nothing_around_it(name, shape):
    box = BOXES[name]
    inside = random_probabilities(3, tuple(axis.stop - axis.start for axis in box))
    volume = torch.zeros(3, 7, 6, 8)
    volume[(slice(None), *box)] = inside
    output = build_output("labels", labels=["kidney", "tumor"], regions=["kidney_and_mass", "tumor"])

    found = resample_labels(Prediction.held(inside, box, (7, 6, 8)), shape, output.decide)

    np.testing.assert_array_equal(found, resample_labels(everywhere(volume), shape, output.decide))
    scaled = F.interpolate(volume[None], size=shape, mode="trilinear", align_corners=False)[0]
    expected, certain = output.decide(scaled).numpy(), sure(scaled.numpy())
    np.testing.assert_array_equal(found[certain], expected[certain])
    assert not found[(scaled == 0).all(dim=0).numpy()].any()


def test_only_the_slices_that_the_box_reaches_are_decided():
    decided = []

    def decide(slab: torch.Tensor) -> torch.Tensor:
        decided.append(slab.shape[1])
        return most_probable(slab)

    box = (slice(4, 6), slice(0, 5), slice(0, 6))
    resample_labels(Prediction.held(random_probabilities(2, (2, 5, 6)), box, (20, 5, 6)), (40, 5, 6), decide)

    assert sum(decided) == 6  # 4 of them in the box, and one on either side that is interpolated from it


def test_a_box_in_the_body_goes_to_its_place_in_the_scan():
    probabilities = random_probabilities(4, (2, 3, 2))
    box, crop = (slice(1, 3), slice(0, 3), slice(4, 6)), (slice(3, 7), slice(2, 7), slice(1, 7))

    restored = restore_labels(Prediction.held(probabilities, box, (4, 5, 6)), prepared((9, 10, 8), crop), most_probable)

    expected = np.zeros((9, 10, 8), np.uint8)
    expected[4:6, 2:5, 5:7] = most_probable(probabilities)
    np.testing.assert_array_equal(restored, expected)


def test_slabs_cover_a_range_once_and_in_order():
    assert list(slabs_of(slice(3, 40))) == [slice(3, 19), slice(19, 35), slice(35, 40)]
    assert list(slabs_of(slice(4, 4))) == []
