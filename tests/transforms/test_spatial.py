import math

import monai.transforms as mt
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms.utils import create_rotate

from kidney_lab.errors import InputError
from kidney_lab.transforms import RandSpatiald
from kidney_lab.transforms.deformation import Deformation
from kidney_lab.transforms.spatial import SpatialDraw

EVERYTHING = {
    "rotate_prob": 1.0,
    "rotate_range": 0.6,
    "scale_prob": 1.0,
    "scale_range": (0.7, 1.4),
    "elastic_prob": 1.0,
    "elastic_spacing": 6,
    "elastic_magnitude": 2,
    "flip_prob": 0.5,
}


def sample(shape, seed=0):
    """An image and a label map of three labels that fill most of it."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, 4, [math.ceil(n / 4) for n in shape], generator=generator, dtype=torch.uint8)
    label = coarse
    for axis, n in enumerate(shape):
        label = label.repeat_interleave(4, axis).narrow(axis, 0, n)
    return {"image": torch.randn(1, *shape, generator=generator), "label": label[None].contiguous()}


def applied(data, shape, *, matrix=None, quarter_turns=0, flips=(), mode=("bilinear", "nearest")):
    """The sample changed by a draw that is given, not random."""
    transform = RandSpatiald(keys=["image", "label"], mode=mode)
    deformation = None if matrix is None else Deformation(matrix)
    transform.drawn = SpatialDraw(tuple(shape), deformation, quarter_turns, flips)
    return transform(data, randomize=False)


def assert_same(got, image, label):
    torch.testing.assert_close(got["image"], image, atol=1e-5, rtol=1e-5)
    assert torch.equal(got["label"], label)


def test_without_probabilities_the_very_tensors_come_back():
    data = sample((5, 6, 7))

    result = RandSpatiald(rotate_range=0.5, scale_range=(0.5, 2.0), elastic_magnitude=5)(data)

    assert result["image"].data_ptr() == data["image"].data_ptr()
    assert result["label"].data_ptr() == data["label"].data_ptr()


@pytest.mark.parametrize("strength", ["rotate", "scale", "elastic"])
def test_zero_strength_is_the_identity(strength):
    data = sample((6, 7, 8))
    transform = RandSpatiald(**{f"{strength}_prob": 1.0})

    assert_same(transform(data), data["image"], data["label"])
    assert transform.drawn.deformation is not None


@pytest.mark.parametrize("flips", [(1,), (2,), (3,), (1, 3), (1, 2, 3)])
def test_flips_are_exact(flips):
    data = sample((5, 6, 7))

    got = applied(data, (5, 6, 7), flips=flips)

    assert torch.equal(got["image"], data["image"].flip(flips))
    assert torch.equal(got["label"], data["label"].flip(flips))


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("shape", [(8, 8), (5, 9), (4, 6, 10), (3, 5, 8)])
def test_quarter_turns_are_exact_and_keep_the_shape(turns, shape):
    turned = (*shape[:-2], *(shape[:-3:-1] if turns % 2 else shape[-2:]))
    box = tuple(n + 2 * math.ceil(max(m - n, 0) / 2) for n, m in zip(shape, turned, strict=True))
    data = sample(box)

    got = applied(data, shape, quarter_turns=turns)

    inside = tuple(slice((b - n) // 2, (b - n) // 2 + n) for b, n in zip(box, turned, strict=True))
    for key in ("image", "label"):
        want = np.rot90(data[key].numpy()[(slice(None), *inside)], turns, axes=(-2, -1))
        np.testing.assert_array_equal(got[key], want)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_rotation_by_90_degrees_is_numpy_s(axis, mode):
    data = sample((8, 8, 8))
    angles = [np.pi / 2 if k == axis else 0.0 for k in range(3)]

    got = applied(data, (8, 8, 8), matrix=create_rotate(3, angles)[:3, :3], mode=("bilinear", mode))

    first, second = (1 + k for k in range(3) if k != axis)
    # create_rotate turns the coordinates that are read from the first towards the second remaining axis (for the
    # middle axis the other way round), so the content turns back.
    turn = -1 if axis != 1 else 1
    image, label = (torch.rot90(data[key], turn, dims=(first, second)) for key in ("image", "label"))
    assert_same(got, image, label)


def test_a_factor_of_2_takes_every_second_voxel():
    data = sample((9, 13, 17))

    got = applied(data, (5, 7, 9), matrix=2 * np.eye(3))

    assert_same(got, data["image"][:, ::2, ::2, ::2], data["label"][:, ::2, ::2, ::2])


@pytest.mark.parametrize(
    ("angles", "factors", "shape"),
    [
        ((0.3, -0.2, 0.4), (0.8, 1.3, 1.1), (9, 10, 11)),
        ((-0.5, 0.1, 0.2), (1.4, 1.4, 1.4), (6, 9, 8)),
        ((0.7,), (0.9, 1.2), (11, 8)),
    ],
)
@pytest.mark.parametrize("flips", [(), (1,), (1, 2)])
def test_a_chain_of_monai_s_affine_and_flips_gives_the_same(angles, factors, shape, flips):
    n = len(shape)
    matrix = create_rotate(n, angles)[:n, :n] @ np.diag(factors)
    transform = RandSpatiald(["image", "label"], ("bilinear", "nearest"))
    transform.drawn = SpatialDraw(shape, Deformation(matrix), 0, flips)
    data = sample(transform.source_shape())

    got = transform(data, randomize=False)

    rotate = list(angles) if n == 3 else angles[0]
    for key, mode in (("image", "bilinear"), ("label", "nearest")):
        affine = mt.Affine(
            rotate_params=rotate,
            scale_params=factors,
            spatial_size=shape,
            mode=mode,
            padding_mode="zeros",
            image_only=True,
        )
        want = mt.Flip([axis - 1 for axis in flips])(affine(data[key].float())) if flips else affine(data[key].float())
        if key == "image":
            torch.testing.assert_close(got[key], want.as_tensor(), atol=2e-4, rtol=1e-4)
        else:  # a place half way between two voxels may be rounded either way
            assert (got[key] == want.as_tensor()).float().mean() > 0.999


@pytest.mark.parametrize("shape", [(20, 24, 22), (40, 36)])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_image_and_label_move_together(shape, mode):
    transform = RandSpatiald(
        ["image", "label"], ("bilinear", mode), **EVERYTHING | {"rotate90_prob": 0.5, "elastic_spacing": 12}
    )
    for seed in range(8):
        transform.set_random_state(seed)
        transform.randomize(shape)
        data = sample(transform.source_shape(), seed)
        marker = torch.zeros_like(data["label"])
        centre = [n // 2 for n in marker.shape[1:]]
        marker[(0, *[slice(c - 7, c + 2) for c in centre])] = 1  # off the centre: a wrong flip shows

        got = transform({"image": marker.float(), "label": marker}, randomize=False)

        certain = (got["image"] - 0.5).abs() > (1e-4 if mode == "linear" else 0.49)
        assert got["label"].sum() > 30
        assert torch.equal((got["image"] > 0.5)[certain], got["label"].bool()[certain])


@pytest.mark.parametrize("shape", [(9, 12, 10), (14, 11)])
def test_the_box_holds_all_that_is_touched(shape):
    transform = RandSpatiald(**EVERYTHING)
    for seed in range(10):
        transform.set_random_state(seed)
        transform.randomize(shape)
        box = transform.source_shape()
        large = sample([n + 8 for n in box], seed)
        small = {key: value[(slice(None), *[slice(4, 4 + n) for n in box])] for key, value in large.items()}

        got = transform(small, randomize=False)
        grown = RandSpatiald()
        grown.source_shape = lambda box=box: tuple(n + 8 for n in box)
        grown.drawn = transform.drawn
        want = grown(large, randomize=False)

        torch.testing.assert_close(got["image"], want["image"], atol=2e-4, rtol=1e-4)
        assert (got["label"] == want["label"]).float().mean() > 0.999
        assert got["image"].shape == got["label"].shape == (1, *shape)


def test_a_sample_smaller_than_its_box_is_padded_by_border_and_background():
    data = {"image": torch.full((1, 6, 6), 5.0), "label": torch.ones(1, 6, 6, dtype=torch.uint8)}

    got = applied(data, (6, 6), matrix=2 * np.eye(2), mode=("bilinear", "linear"))

    assert torch.all(got["image"] == 5)
    # read at -2.5, -0.5, 1.5, 3.5, 5.5 and 7.5: half a voxel outside it is half background, which wins ties
    inside = torch.tensor([0, 0, 1, 1, 0, 0], dtype=torch.uint8)
    assert torch.equal(got["label"][0], inside[:, None] * inside)


def test_rotation_about_the_slice_axis_alone_mixes_no_slices():
    data = sample((6, 20, 20))
    changed = {"image": data["image"].clone(), "label": data["label"]}
    changed["image"][:, 2] += 100
    transform = RandSpatiald(rotate_prob=1.0, rotate_range=[1.0, 0, 0])

    before = transform.set_random_state(1)(data)["image"]
    after = transform.set_random_state(1)(changed)["image"]

    assert torch.equal((before - after).abs().amax((0, 2, 3)) > 1, torch.arange(6) == 2)
    assert not torch.equal(before, data["image"])


def test_slices_turn_by_the_angle_about_the_slice_axis():
    draws = []
    for shape in ((9, 9, 9), (9, 9)):
        transform = RandSpatiald(rotate_prob=1.0, rotate_range=[0.5, 0, 0])
        transform.set_random_state(3)
        transform.randomize(shape)
        draws.append(transform.drawn.deformation.matrix)

    np.testing.assert_allclose(draws[0][1:, 1:], draws[1])
    assert draws[0][0, 0] == 1


def test_every_part_is_drawn_with_its_own_probability_and_range():
    transform = RandSpatiald(
        rotate_prob=0.2,
        rotate_range=[0.5, 0.0, 0.0],
        scale_prob=0.4,
        scale_range=(0.7, 1.4),
        elastic_prob=0.3,
        elastic_magnitude=[0, 8, 4],
        flip_prob=0.5,
        flip_axes=[-1],
        rotate90_prob=0.6,
    )
    transform.set_random_state(0)
    draws = []
    for _ in range(2000):
        transform.randomize((8, 8, 8))
        draws.append(transform.drawn)
    changes = [draw.deformation or Deformation(np.eye(3)) for draw in draws]
    factors = np.array([np.linalg.norm(change.matrix, axis=0) for change in changes])
    angles = np.array([np.arctan2(change.matrix[2, 1], change.matrix[1, 1]) for change in changes])
    reach = np.array([change.reach for change in changes])

    share = {  # standard deviation of each share at most 0.011
        "rotated": (0.2, angles != 0),
        "scaled": (0.4, ~np.isclose(factors[:, 0], 1, atol=1e-9)),
        "deformed": (0.3, reach[:, 1] > 0),
        "flipped": (0.5, [draw.flips == (3,) for draw in draws]),
        "turned": (0.6, [draw.quarter_turns > 0 for draw in draws]),
    }
    assert {name: np.mean(hit) for name, (_, hit) in share.items()} == pytest.approx(
        {name: prob for name, (prob, _) in share.items()}, abs=0.045
    )
    assert {draw.flips for draw in draws} == {(), (3,)}
    assert {draw.quarter_turns for draw in draws} == {0, 1, 2, 3}
    assert 0.45 < np.abs(angles).max() <= 0.5
    assert angles.min() < -0.45
    assert 0.7 <= factors.min() < 0.72
    assert 1.38 < factors.max() <= 1.4
    np.testing.assert_allclose(factors, factors[:, :1].repeat(3, 1))
    assert np.all(reach <= [0, 8, 4])
    assert reach[:, 1].max() > 7


def test_scaling_per_axis_draws_each_within_its_own_range():
    transform = RandSpatiald(
        scale_prob=1.0, scale_range=[[1, 1], [0.5, 0.6], [2.0, 3.0]], scale_isotropic=False
    ).set_random_state(0)
    factors = []
    for _ in range(50):
        transform.randomize((8, 8, 8))
        factors.append(np.diag(transform.drawn.deformation.matrix))
    low, high = np.min(factors, 0), np.max(factors, 0)

    assert low[0] == high[0] == 1
    assert 0.5 <= low[1] < high[1] <= 0.6
    assert 2.0 <= low[2] < high[2] <= 3.0
    assert abs(np.corrcoef(np.transpose(factors)[1:])[0, 1]) < 0.5


def test_one_probability_does_not_change_what_the_others_draw():
    matrices = []
    for flip_prob in (0.0, 1.0):
        transform = RandSpatiald(rotate_prob=1.0, rotate_range=0.5, flip_prob=flip_prob).set_random_state(5)
        transform.randomize((8, 8, 8))
        matrices.append(transform.drawn.deformation.matrix)

    np.testing.assert_array_equal(*matrices)


def test_serves_in_a_compose_on_arrays_metatensors_and_further_keys():
    data = sample((10, 12))
    label = data["label"].numpy()
    transform = mt.Compose(
        [
            RandSpatiald(
                keys=["image", "label", "prior"],
                mode=["bilinear", "nearest", "nearest"],
                spatial_size=(6, 8),
                allow_missing_keys=True,
                **EVERYTHING,
            )
        ]
    ).set_random_state(2)

    result = transform({"image": MetaTensor(data["image"]), "label": label, "prior": label, "case": "a"})
    without = transform({"image": data["image"], "label": label})

    assert type(result["image"]) is torch.Tensor
    assert result["image"].shape == (1, 6, 8)
    assert torch.equal(result["label"], result["prior"])
    assert result["case"] == "a"
    assert set(without) == {"image", "label"}


@pytest.mark.parametrize("prob", [0.0, 1.0])
def test_the_types_do_not_depend_on_the_draw(prob):
    data = {"image": np.arange(64, dtype=np.int16).reshape(1, 8, 8), "label": np.ones((1, 8, 8))}

    result = RandSpatiald(rotate_prob=prob, rotate_range=0.5)(data)

    assert result["image"].dtype == torch.float32
    assert result["label"].dtype == torch.uint8


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpu_gives_what_the_cpu_gives():
    transform = RandSpatiald(**EVERYTHING).set_random_state(4)
    transform.randomize((32, 40, 36))
    data = sample(transform.source_shape())

    cpu = transform(data, randomize=False)
    gpu = transform({key: value.cuda() for key, value in data.items()}, randomize=False)

    torch.testing.assert_close(gpu["image"].cpu(), cpu["image"], atol=1e-3, rtol=1e-3)
    assert (gpu["label"].cpu() == cpu["label"]).float().mean() > 0.999


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rotate_prob": 1.5}, "rotate_prob=1.5 is no share"),
        ({"flip_prob": -0.1}, "flip_prob=-0.1 is no share"),
        ({"rotate_range": [0.1, 0.2]}, r"rotate_range=\[0.1, 0.2\] must be a number from 0 on, or three"),
        ({"rotate_range": -0.1}, "rotate_range=-0.1 must be a number from 0 on"),
        ({"scale_range": (1.4, 0.7)}, r"scale_range=\(1.4, 0.7\) must be \(smallest, largest\)"),
        ({"scale_range": (0, 1)}, "scale_range"),
        ({"elastic_spacing": 10, "elastic_magnitude": 5}, "elastic_magnitude=5 is over 0.4 of elastic_spacing=10"),
        ({"mode": ["bilinear", "cubic"]}, "mode=.*cubic.* must be one of bilinear, linear, nearest"),
        ({"mode": ["bilinear"]}, "for each of 3 keys"),
    ],
)
def test_values_out_of_range_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        RandSpatiald(**arguments)


def test_an_axis_that_a_sample_lacks_is_refused():
    with pytest.raises(InputError, match=r"flip_axes=\[2\] names an axis that a 2D sample lacks: write -2 to 1"):
        RandSpatiald(flip_axes=[2]).randomize((8, 8))
