import itertools
import math

import numpy as np
import pytest

from kidney_lab.data.fingerprint import Fingerprint, take_fingerprint
from kidney_lab.data.kits import find_cases
from kidney_lab.errors import InputError
from kidney_lab.networks.planning import FEATURES_PER_GB, plan, target_spacing, topology

THIN = ((1, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2))
THINNER = ((1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2), (1, 2, 2))
CUBE = ((2, 2, 2),) * 5

# spacing and shape of 20 equal cases; patch, strides, kernels of 1 across slices, and channels that nnU-Net 2.8.1 plans
# for them: `get_plans_for_configuration` of its ExperimentPlanner, for 8 GB, one channel and three labels.
OF_NNUNET = [
    ((3, 0.78125, 0.78125), (104, 512, 512), (40, 224, 224), THIN, 1),
    ((1, 0.77, 0.77), (432, 512, 512), (128, 128, 128), CUBE, 0),
    ((5, 0.7, 0.7), (60, 512, 512), (28, 256, 256), THINNER, 2),
    ((3.6, 0.62, 0.62), (20, 320, 320), (20, 320, 256), THINNER, 2),
    ((10, 1.5, 1.5), (10, 240, 200), (10, 256, 224), ((1, 2, 2), (1, 2, 2), (2, 2, 2), (1, 2, 2), (1, 2, 2)), 2),
    ((1, 1, 1), (155, 240, 240), (96, 160, 160), ((2, 2, 2),) * 4 + ((1, 2, 2),), 0),
    ((1, 1, 1), (36, 50, 35), (40, 56, 40), ((2, 2, 2),) * 3, 0),
    ((3, 4, 4), (72, 92, 92), (80, 96, 96), ((2, 2, 2),) * 4, 0),
]


def equal_cases(spacing, shape, n=20):
    return Fingerprint(tuple(map(str, range(n))), np.array([spacing] * n, float), np.array([shape] * n))


@pytest.mark.parametrize(("spacing", "shape", "patch", "strides", "n_flat"), OF_NNUNET)
def test_the_network_is_the_one_that_nnunet_plans(spacing, shape, patch, strides, n_flat):
    found = plan(equal_cases(spacing, shape))

    assert (found.spacing, found.median_shape) == (spacing, shape)
    assert (found.patch_size, found.strides) == (patch, strides)
    assert found.kernel_sizes == ((1, 3, 3),) * n_flat + ((3, 3, 3),) * (len(strides) + 1 - n_flat)
    assert found.channels == (32, 64, 128, 256, 320, 320, 320)[: len(strides) + 1]
    assert found.batch_size == 2


def test_the_coarse_axis_of_kits_is_planned_as_fine_as_its_thinnest_slices():
    """nnU-Net's plan for KiTS19: 0.78125 mm along each axis, since the 10th percentile of slices is 0.5 mm.

    https://github.com/MIC-DKFZ/nnUNet/issues/230
    """
    slices = [0.5] * 3 + [1.0] * 4 + [3.0] * 5 + [5.0] * 8
    cases = [((mm, 0.78125, 0.78125), (round(400 / mm), 512, 512)) for mm in slices]
    found = Fingerprint(tuple(map(str, slices)), *(np.array(column, float) for column in zip(*cases, strict=True)))

    planned = plan(found)

    assert planned.spacing == (0.78125, 0.78125, 0.78125)
    assert planned.patch_size == (128, 128, 128)
    assert (planned.strides, planned.kernel_sizes) == (CUBE, ((3, 3, 3),) * 6)
    assert planned.supervised_levels == 4


@pytest.mark.parametrize(
    ("slices", "n_slices", "expected"),
    [
        ([2.0] * 4 + [6.0] * 16, 50, 2.0),  # coarse and few: the 10th percentile
        ([2.0] * 1 + [6.0] * 19, 50, 6.0),  # which a single case of 20 does not move
        ([0.4] * 4 + [6.0] * 16, 50, 1.0),  # but no finer than the other axes
        ([2.0] * 4 + [6.0] * 16, 134, 6.0),  # coarse, but a third as many as the other axes
        ([2.0] * 4 + [3.0] * 16, 50, 3.0),  # not over three times as coarse
    ],
)
def test_the_10th_percentile_is_only_for_coarse_axes_of_few_voxels(slices, n_slices, expected):
    spacings = np.stack([slices, np.ones(20), np.ones(20)], axis=1)

    assert target_spacing(Fingerprint(("",) * 20, spacings, np.array([(n_slices, 400, 400)] * 20))) == (expected, 1, 1)


def random_fingerprint(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 40))
    spacings = rng.uniform((0.5, 0.4, 0.4), (8, 1.2, 1.2)) * rng.uniform(0.7, 1.4, (n, 3))
    shapes = np.rint(rng.uniform(12, 500, 3) * rng.uniform(0.8, 1.2, (n, 3))).astype(int)
    return Fingerprint(("",) * n, spacings, np.maximum(shapes, 8))


@pytest.mark.parametrize("seed", range(30))
def test_every_plan_fits_its_memory_and_its_own_strides(seed):
    fingerprint, memory = random_fingerprint(seed), float(np.random.default_rng(seed).choice([2, 8, 24]))
    found = plan(fingerprint, memory_gb=memory)

    halvings = np.prod([(1, 1, 1), *found.strides], axis=0)
    lowest = np.array(found.patch_size) / halvings
    assert (lowest == lowest.astype(int)).all()
    assert ((lowest >= 4) | (halvings == 1)).all()
    assert hand_counted_features(found) <= memory * FEATURES_PER_GB
    assert hand_counted_features(found) * found.batch_size <= 2.5 * memory * FEATURES_PER_GB  # rounded to the nearest
    assert found.batch_size >= 2
    assert [*found.channels] == sorted(found.channels)
    assert found.channels[-1] <= 320


def hand_counted_features(found):
    """Sizes of the maps that a plain U-Net's convolutions give, counted layer by layer."""
    size, total, skips = np.array(found.patch_size), 0, []
    for stride, width in zip(((1, 1, 1), *found.strides), found.channels, strict=True):
        size = size // stride
        total += 2 * width * math.prod(size.tolist())
        skips.append((width, math.prod(size.tolist())))
    for width, voxels in skips[:-1]:
        total += width * voxels + 2 * width * voxels
    return total + 3 * skips[0][1]


@pytest.mark.parametrize("seed", range(5))
def test_more_memory_never_gives_a_smaller_patch(seed):
    fingerprint = random_fingerprint(seed)

    voxels = [math.prod(plan(fingerprint, memory_gb=memory).patch_size) for memory in (2, 4, 8, 16, 32)]

    assert all(small <= large for small, large in itertools.pairwise(voxels))


def test_spare_memory_goes_into_the_batch_up_to_a_twentieth_of_the_data():
    small = plan(equal_cases((1, 1, 1), (36, 50, 35), n=260))
    few = plan(equal_cases((1, 1, 1), (36, 50, 35), n=60))

    # 36 * 50 * 35 * 260 * 0.05 / (40 * 56 * 40) = 9.14; with 60 cases 2.1
    assert (small.batch_size, few.batch_size) == (9, 2)


def test_an_axis_is_halved_alone_only_with_voxels_to_spare():
    # slices are 8 times as dense as pixels: they are halved alone until they are alike
    assert topology((1, 8, 8), (11, 64, 64)).strides == ()
    assert topology((1, 8, 8), (12, 64, 64)).strides[0] == (2, 1, 1)


def test_too_little_memory_is_an_error_that_names_it():
    with pytest.raises(InputError, match=r"memory_gb=1e-06 is too little for a patch of \[4, 4, 4\] voxels"):
        plan(equal_cases((1, 1, 1), (64, 64, 64)), memory_gb=1e-6)


def test_the_full_preset_is_the_plan_for_kits19(shared_data):
    """But for the spacing, which is the median over all 210 cases; here are 120."""
    from omegaconf import OmegaConf

    from kidney_lab.composition.search_path import config_folder

    full = OmegaConf.load(config_folder() / "model" / "sizes" / "nnunet_plain" / "full.yaml")
    found = plan(take_fingerprint(find_cases(shared_data / "kits19")))

    assert list(found.patch_size) == full.roi_size
    assert list(found.channels) == full.channels
    assert found.strides == tuple((n, n, n) for n in full.strides)
    assert found.kernel_sizes == ((full.kernel_size,) * 3,) * 6
    assert (found.supervised_levels, found.batch_size) == (full.supervised_levels, full.batch_size)
    assert found.spacing == pytest.approx(full.spacing, abs=0.02)
