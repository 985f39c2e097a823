import numpy as np
import pytest
import torch
from scipy import ndimage

from kidney_lab.errors import InputError
from kidney_lab.transforms import RandCorruptPriord
from kidney_lab.transforms.corrupt_prior import OPERATIONS, closed, dilate, drop_component, erode, opened, repaint

ALWAYS = {"morphology_prob": 1.0, "component_prob": 1.0, "label_prob": 1.0}


def ball(radius, axes) -> np.ndarray:
    offsets = np.indices([2 * int(radius) + 1] * axes) - int(radius)
    return (offsets**2).sum(axis=0) <= radius**2


def blobs(shape, seed=0, levels=(0.1, 0.04)) -> torch.Tensor:
    """A label map `(1, *shape)` of smooth random shapes; each label is what lies over a level, the last on top."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2.0)
    labels = sum((noise > np.quantile(noise, 1 - share)).astype(np.uint8) for share in levels)
    return torch.from_numpy(labels)[None]


def corrupted(labels, *, seed=0, **arguments):
    return RandCorruptPriord(**arguments).set_random_state(seed)({"prior": labels})["prior"]


@pytest.mark.parametrize(
    ("shape", "radius"),
    [(shape, radius) for shape in ((40, 50), (20, 24, 28)) for radius in (0.5, 1, 2.5, 5)]
    + [((40, 50), 13.2), ((14, 16, 18), 7.9)],
)
def test_morphology_is_that_of_scipy_with_a_ball(shape, radius):
    mask = blobs(shape, levels=(0.3,))[0] == 1
    assert mask[0].any()  # it touches the border
    element, array = ball(radius, len(shape)), mask.numpy()

    def dilated(x):
        return ndimage.binary_dilation(x, element)

    def eroded(x):
        return ndimage.binary_erosion(x, element, border_value=1)

    assert np.array_equal(dilate(mask, radius), dilated(array))
    assert np.array_equal(erode(mask, radius), eroded(array))
    assert np.array_equal(opened(mask, radius), dilated(eroded(array)))
    assert np.array_equal(closed(mask, radius), eroded(dilated(array)))


def test_nothing_and_everything_stay_so():
    for operation in OPERATIONS:
        assert not operation(torch.zeros(6, 7, 8, dtype=torch.bool), 3.0).any()
        assert operation(torch.ones(6, 7, 8, dtype=torch.bool), 3.0).all()


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_repainting_is_what_nnunet_does_to_channels(order):
    fields = [ndimage.gaussian_filter(np.random.default_rng(k).normal(size=(20, 24, 28)), 3) for k in range(4)]
    labels = torch.from_numpy(np.argmax(fields, axis=0).astype(np.uint8))[None]
    channels = {value: (labels == value)[0].numpy().copy() for value in (1, 2, 3)}
    steps = list(zip(order, (dilate, closed, erode), (1.5, 2.3, 1.0), strict=True))

    for value, operation, radius in steps:
        labels = repaint(labels, value, operation((labels == value)[0], radius))
        changed = operation(torch.from_numpy(channels[value]), radius).numpy()
        for other in {1, 2, 3} - {value}:
            channels[other][changed & ~channels[value]] = False
        channels[value] = changed

    assert labels.dtype == torch.uint8
    assert np.array_equal(labels[0], sum(value * mask.astype(int) for value, mask in channels.items()))
    assert all(mask.any() for mask in channels.values())


def test_a_label_wins_voxels_from_others_and_loses_them_to_the_background():
    labels = torch.tensor([[[0, 1, 1, 2, 2, 0]]], dtype=torch.uint8)

    grown = repaint(labels, 1, torch.tensor([[1, 1, 1, 1, 0, 0]]).bool())
    shrunk = repaint(labels, 1, torch.tensor([[0, 1, 0, 0, 0, 0]]).bool())

    assert grown.tolist() == [[[1, 1, 1, 1, 2, 0]]]
    assert shrunk.tolist() == [[[0, 1, 0, 2, 2, 0]]]


def test_one_small_component_of_the_label_vanishes_and_the_others_stay():
    labels = torch.zeros(1, 4, 10, 10, dtype=torch.uint8)  # 400 voxels
    labels[0, :2, :8, :5] = 1  # 80: 0.2 of all
    labels[0, 3, :2, 8:] = 1  # 4
    labels[0, 3, 9, 9] = 1  # 1
    labels[0, 0, 9, 9] = 2
    sizes = set()

    for seed in range(20):
        result = drop_component(labels, 1, max_share=0.2, rng=np.random.RandomState(seed))
        sizes.add(int((labels != result).sum()))
        assert torch.equal(result == 2, labels == 2)

    assert sizes == {4, 1}  # the large one has as much as may not vanish
    assert drop_component(labels, 3, max_share=1.0, rng=np.random.RandomState(0)) is labels
    assert drop_component(labels[:, :2, :9, :9], 1, max_share=0.2, rng=np.random.RandomState(0)).any()


@pytest.mark.parametrize("axes", [2, 3])
def test_voxels_that_touch_by_a_corner_are_one_component(axes):
    labels = torch.zeros(1, *[9] * axes, dtype=torch.uint8)
    for k in range(5):
        labels[(0, *[k] * axes)] = 1

    assert not drop_component(labels, 1, max_share=1.0, rng=np.random.RandomState(0)).any()


def test_the_defaults_are_those_of_nnunet():
    labels = torch.zeros(1, 17, 17, 17, dtype=torch.uint8)
    labels[0, 8, 8, 8] = 1
    transform = RandCorruptPriord().set_random_state(0)

    voxels = np.array([int((transform({"prior": labels})["prior"] > 0).sum()) for _ in range(2000)])

    # morphology: 0.4 * 0.5, a quarter each: dilation grows the voxel, erosion and opening lose it, closing keeps it;
    # then 0.2 * 0.5 of what is left and has under 0.15 of the 4913 voxels vanishes, as a ball to 5.6 voxels has
    grown = voxels > 1
    assert (voxels == 0).mean() == pytest.approx(0.1 + 0.9 * 0.1 - 0.05 * 0.1 * (8 - 5.6) / 7, abs=0.03)
    assert grown.mean() == pytest.approx(0.05 - 0.005 * 4.6 / 7, abs=0.015)
    radii = np.cbrt(voxels[grown] * 3 / (4 * np.pi))
    assert 1 <= radii.min() < 2
    assert 7 < radii.max() <= 8.1
    assert radii.mean() == pytest.approx(4.5, abs=0.7)


@pytest.mark.parametrize("shape", [(40, 50), (24, 28, 32)])
def test_the_result_is_a_label_map_of_the_same_form_and_labels(shape):
    labels = blobs(shape, levels=(0.2, 0.1, 0.05))
    before, changed = labels.clone(), 0

    for seed in range(20):
        result = corrupted(labels, seed=seed, **ALWAYS, radius_range=(1, 3))
        changed += not torch.equal(result, labels)
        assert result.shape == labels.shape
        assert result.dtype == torch.uint8
        assert set(result.unique().tolist()) <= {0, 1, 2, 3}

    assert changed == 20
    assert torch.equal(labels, before)


def test_labels_come_in_random_order():
    labels = torch.zeros(1, 1, 21, 21, dtype=torch.uint8)
    labels[..., :10], labels[..., 10:11] = 1, 2
    only_growing = {"component_prob": 0.0, "morphology_prob": 1.0, "label_prob": 1.0, "radius_range": (3, 3)}

    results = [corrupted(labels, seed=seed, **only_growing) for seed in range(60)]
    at_border = {tuple(result[0, 0, 10, 5:16].tolist()) for result in results}

    grown_both = {(1, 1, 2, 2, 2, 2, 2, 2, 2, 0, 0), (1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0)}
    assert grown_both <= at_border  # label 2 over label 1, and label 1 over label 2


def test_a_seed_repeats_it_and_probability_0_leaves_the_map():
    labels = blobs((24, 28, 32))

    assert torch.equal(corrupted(labels, seed=4, **ALWAYS), corrupted(labels, seed=4, **ALWAYS))
    assert torch.equal(corrupted(labels, morphology_prob=0, component_prob=0), labels)
    assert torch.equal(corrupted(labels, **{**ALWAYS, "label_prob": 0}), labels)


def test_a_map_without_labels_stays():
    assert not corrupted(torch.zeros(1, 5, 6, 7, dtype=torch.uint8), **ALWAYS).any()


def test_other_keys_pass_and_a_missing_prior_is_told_unless_allowed():
    sample = {"image": torch.rand(1, 5, 6, 7)}

    assert RandCorruptPriord(allow_missing_keys=True)(sample)["image"] is sample["image"]
    with pytest.raises(KeyError, match="prior"):
        RandCorruptPriord()(sample)


@pytest.mark.parametrize("name", ["morphology_prob", "component_prob", "label_prob", "max_component_share"])
def test_a_share_outside_0_to_1_is_refused(name):
    with pytest.raises(InputError, match=f"^corrupt: {name}=1.5 is no share: write a number from 0 to 1"):
        RandCorruptPriord(**{name: 1.5})


@pytest.mark.parametrize("radii", [(3, 1), (0, 2), 5, (1, 2, 3), ("a", "b"), (1, float("inf"))])
def test_radii_that_are_no_range_are_refused(radii):
    with pytest.raises(
        InputError,
        match=r"^corrupt: radius_range=.* \(model\.prior_radius\) must be \(smallest, largest\) radius in vox",
    ):
        RandCorruptPriord(radius_range=radii)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_map_on_the_device_is_changed_there_and_alike():
    labels = blobs((24, 28, 32))

    result = corrupted(labels.cuda(), **ALWAYS)

    assert result.is_cuda
    assert torch.equal(result.cpu(), corrupted(labels, **ALWAYS))
