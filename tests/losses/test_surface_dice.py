import itertools

import pytest
import torch

from kidney_lab.losses.surface_dice import soft_border, soft_surface_dice

SHAPE = (10, 12, 14)


def cube(corner, size=4, shape=SHAPE):
    """Mask (1, 1, 10, 12, 14) of a cube."""
    mask = torch.zeros(1, 1, *shape)
    mask[(0, 0, *(slice(start, start + size) for start in corner))] = 1.0
    return mask


def blobs(seed, *, channels=1, shape=SHAPE):
    """A mask of random connected lumps, (1, channels, *shape)."""
    noise = torch.randn((1, channels, *shape), generator=torch.Generator().manual_seed(seed))
    pool = torch.nn.functional.avg_pool3d if len(shape) == 3 else torch.nn.functional.avg_pool2d
    return (pool(noise, 3, 1, 1) > 0.15).float()


def voxels_near(voxels, radius, shape):
    """All voxels in a box about any of `voxels`, within the volume."""
    steps = list(itertools.product(*(range(-reach, reach + 1) for reach in radius)))
    moved = {tuple(a + b for a, b in zip(voxel, step, strict=True)) for voxel in voxels for step in steps}
    return {voxel for voxel in moved if all(0 <= at < size for at, size in zip(voxel, shape, strict=True))}


def border_voxels(mask):
    """Voxels that have both inside and outside within a step of one voxel along every axis."""
    inside = {tuple(voxel) for voxel in mask.nonzero().tolist()}
    everywhere = set(itertools.product(*(range(size) for size in mask.shape)))
    return {
        voxel
        for voxel in everywhere
        if len({near in inside for near in voxels_near({voxel}, (1,) * mask.ndim, mask.shape)}) == 2
    }


def counted(prediction, reference, radius, form):
    """Surface Dice of two masks by sets of voxels."""
    a, b = border_voxels(prediction), border_voxels(reference)
    near_a, near_b = (voxels_near(border, radius, prediction.shape) for border in (a, b))
    if form == "nikolov":
        return (len(a & near_b) + len(b & near_a)) / (len(a) + len(b))
    return 2 * len(near_a & near_b) / (len(near_a) + len(near_b))


@pytest.mark.parametrize("form", ["nikolov", "thesis"])
@pytest.mark.parametrize("radius", [(1, 1, 1), (1, 2, 3)])
@pytest.mark.parametrize("seed", [0, 1])
def test_of_masks_it_counts_voxels(form, radius, seed):
    prediction, reference = blobs(seed, shape=(6, 9, 10)), cube((1, 3, 5), 3, shape=(6, 9, 10))

    given = soft_surface_dice(prediction, reference, radius=radius, form=form, smooth=0.0)

    assert given.shape == (1, 1)
    assert 0.1 < float(given) < 0.99
    assert float(given) == pytest.approx(counted(prediction[0, 0], reference[0, 0], radius, form), rel=1e-6)


@pytest.mark.parametrize("form", ["nikolov", "thesis"])
def test_of_slices_it_counts_pixels_and_the_radius_is_that_of_the_last_axes(form):
    prediction, reference = blobs(0, shape=(20, 24)), blobs(1, shape=(20, 24))

    given = soft_surface_dice(prediction, reference, radius=(7, 1, 2), form=form, smooth=0.0)

    assert float(given) == pytest.approx(counted(prediction[0, 0], reference[0, 0], (1, 2), form), rel=1e-6)


@pytest.mark.parametrize("form", ["nikolov", "thesis"])
def test_identical_masks_agree(form):
    mask = blobs(2, channels=3)

    torch.testing.assert_close(soft_surface_dice(mask, mask, form=form), torch.ones(1, 3))


@pytest.mark.parametrize("form", ["nikolov", "thesis"])
def test_masks_far_apart_share_nothing(form):
    assert float(soft_surface_dice(cube((0, 0, 0), 2), cube((8, 10, 12), 2), form=form)) < 1e-6


@pytest.mark.parametrize("shift", [(1, 0, 0), (0, 1, -1), (1, 2, 3), (-1, -2, -3)])
def test_a_cube_shifted_within_the_tolerance_agrees(shift):
    moved = cube([3 + shift[0], 4 + shift[1], 5 + shift[2]])

    assert float(soft_surface_dice(cube((3, 4, 5)), moved, radius=(1, 2, 3))) == pytest.approx(1.0)


def test_a_cube_shifted_further_does_not_agree():
    assert float(soft_surface_dice(cube((3, 4, 5)), cube((5, 4, 5)), radius=(1, 2, 3))) < 0.9


def test_nothing_and_nothing_agree_and_nothing_and_something_do_not():
    nothing = torch.zeros(2, 1, *SHAPE)
    something = cube((3, 4, 5)).expand(2, -1, -1, -1, -1)

    assert soft_surface_dice(nothing, nothing).tolist() == [[1.0], [1.0]]
    assert soft_surface_dice(nothing, nothing, batch=True).tolist() == [1.0]
    assert float(soft_surface_dice(something, nothing).max()) < 1e-6


def test_an_organ_that_the_volume_cuts_has_no_border_at_the_cut():
    mask = torch.zeros(1, 1, *SHAPE)
    mask[:, :, :5] = 1.0

    border = soft_border(mask)

    assert border[0, 0, :, 0, 0].tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 0, 0]
    assert float(border.sum()) == 2 * 12 * 14


def test_the_border_of_probabilities_is_how_much_they_change_nearby():
    profile = torch.tensor([0.0, 0.0, 0.2, 0.7, 1.0, 1.0])
    ramp = profile[None, None, :, None, None].expand(1, 1, 6, 3, 3)

    torch.testing.assert_close(soft_border(ramp)[0, 0, :, 1, 1], torch.tensor([0.0, 0.2, 0.7, 0.8, 0.3, 0.0]))


def test_a_batch_is_one_volume_without_borders_between_its_samples():
    full, nothing = torch.ones(1, 1, *SHAPE), torch.zeros(1, 1, *SHAPE)
    prediction = torch.cat([full, blobs(0), nothing])
    reference = torch.cat([nothing, cube((3, 4, 5)), full])

    given = soft_surface_dice(prediction, reference, batch=True, smooth=0.0)

    alone = soft_surface_dice(blobs(0), cube((3, 4, 5)), smooth=0.0)
    torch.testing.assert_close(given, alone[0])


@pytest.mark.parametrize("form", ["nikolov", "thesis"])
@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 5)])
def test_gradients_of_probabilities_are_right(form, shape):
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand((2, 2, *shape), generator=generator, dtype=torch.float64).requires_grad_()
    target = (torch.rand((2, 2, *shape), generator=generator) > 0.5).double()

    assert torch.autograd.gradcheck(
        lambda values: soft_surface_dice(values, target, radius=(1, 1, 2), form=form, batch=True), (probabilities,)
    )


@pytest.mark.parametrize("form", ["nikolov", "thesis"])
def test_gradients_are_finite_at_certainty(form):
    for prediction, target in itertools.product((torch.zeros(1, 1, *SHAPE), blobs(0), torch.ones(1, 1, *SHAPE)),
                                                (torch.zeros(1, 1, *SHAPE), cube((3, 4, 5)))):  # fmt: skip
        probabilities = prediction.clone().requires_grad_()

        soft_surface_dice(probabilities, target, form=form).sum().backward()

        assert probabilities.grad.isfinite().all()
