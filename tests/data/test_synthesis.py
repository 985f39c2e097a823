"""The synthesized CT: plausible around any label map, reproducible, and not to be solved by a window of HU."""

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from kidney_lab.data.phantom import phantom_case
from kidney_lab.data.synthesis import acquire, depth_mm, interpolated, paint_kidneys, smooth_noise, synthesize_ct
from kidney_lab.errors import InputError

SPACING = (5.0, 5.0, 5.0)


def ball(shape, *, center, radius, spacing=(1.0, 1.0, 1.0)):
    grid = np.ogrid[tuple(slice(n) for n in shape)]
    return sum(((g - c) * s) ** 2 for g, c, s in zip(grid, center, spacing, strict=True)) < radius**2


def two_kidneys(shape=(24, 64, 72)):
    label = np.zeros(shape, np.uint8)
    for x in (22, 50):
        label[ball(shape, center=(12, 36, x), radius=32, spacing=SPACING)] = 1
    label[ball(shape, center=(12, 36, 17), radius=18, spacing=SPACING)] = 2
    return label


def best_window(cases):
    """Largest Dice of any window [lo, hi) on a lattice of 10 HU, pooled over the cases' (HU, tumor) voxels."""
    edges = np.arange(-1030, 3090, 10)
    tumor = sum(np.histogram(hu[is_tumor], edges)[0] for hu, is_tumor in cases)
    voxels = sum(np.histogram(hu, edges)[0] for hu, _ in cases)
    tumor, voxels = (np.concatenate([[0], np.cumsum(counts)]) for counts in (tumor, voxels))
    found = tumor[None, :] - tumor[:, None]
    size = voxels[None, :] - voxels[:, None]
    return float(np.triu(2 * found / np.maximum(size + tumor[-1], 1)).max())


def test_best_window_finds_what_a_window_separates():
    hu = np.array([0, 0, 55, 57, 100])
    assert best_window([(hu, hu == 55), (hu, hu == 57)]) == pytest.approx(2 * 2 / (4 + 2))
    assert best_window([(hu, hu == 100)]) == 1.0


def test_ct_has_the_labels_shape_and_hounsfield_units():
    ct = synthesize_ct(two_kidneys(), SPACING, np.random.default_rng(0))
    assert ct.shape == (24, 64, 72)
    assert ct.dtype == np.int16
    assert ct.min() >= -1024
    assert ct[:, 0, 0].mean() < -950  # air in the corner
    assert (ct > 300).any()  # bone
    assert 0.1 < np.mean((ct > -150) & (ct < -50)) < 0.5  # fat


def test_same_stream_gives_the_same_bits_and_another_stream_another_ct():
    label = two_kidneys()
    first, again, other = (synthesize_ct(label, SPACING, np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5


def test_the_label_map_is_not_changed_and_its_integer_type_does_not_matter():
    label = two_kidneys()
    before = label.copy()
    small = synthesize_ct(label, SPACING, np.random.default_rng(0))
    wide = synthesize_ct(label.astype(np.uint16), SPACING, np.random.default_rng(0))
    np.testing.assert_array_equal(label, before)
    np.testing.assert_array_equal(small, wide)


def test_an_empty_map_gives_a_trunk_without_kidneys():
    ct = synthesize_ct(np.zeros((20, 64, 72), np.uint8), SPACING, np.random.default_rng(0))
    assert 0.25 < (ct > -300).mean() < 0.9
    assert (ct > 300).any()


@pytest.mark.parametrize("center", [(2, 6, 6), (12, 32, 66), (22, 58, 52), (12, 5, 60)])
def test_kidneys_anywhere_in_the_field_of_view_lie_in_fat_and_not_in_air(center):
    label = np.zeros((24, 64, 72), np.uint8)
    label[ball(label.shape, center=center, radius=25, spacing=SPACING)] = 1
    ct = synthesize_ct(label, SPACING, np.random.default_rng(1))
    shell = ndimage.binary_dilation(label > 0) & (label == 0)
    assert (ct[shell] > -300).mean() > 0.97
    assert ct[shell].mean() < 60  # fat and partial volume of the kidney
    assert ct[label > 0].mean() > 80


def test_one_voxel_and_a_full_map_work():
    label = np.zeros((8, 32, 32), np.uint8)
    label[0, 31, 0] = 2
    assert synthesize_ct(label, SPACING, np.random.default_rng(0)).shape == label.shape
    assert synthesize_ct(np.ones((4, 16, 16), np.uint8), SPACING, np.random.default_rng(0)).mean() > 80
    assert synthesize_ct(np.ones((1, 1, 1), np.uint8), SPACING, np.random.default_rng(0)).shape == (1, 1, 1)


def test_cortex_is_brighter_than_the_medulla_below_it():
    shape, spacing = (44, 44, 44), (2.0, 2.0, 2.0)
    label = ball(shape, center=(22, 22, 22), radius=36, spacing=spacing).astype(np.uint8)
    tissue = paint_kidneys(label, spacing, np.random.default_rng(0))
    depth = ndimage.distance_transform_edt(label, sampling=spacing)
    cortex, medulla = tissue[(depth > 0) & (depth < 5)], tissue[depth > 12]
    assert 140 < cortex.mean() < 230
    assert cortex.mean() - medulla.mean() > 15
    assert medulla.min() > 50
    assert (tissue[label == 0] == 0).all()


def test_cysts_hold_water():
    label = two_kidneys()
    label[label == 2] = 3
    tissue = paint_kidneys(label, SPACING, np.random.default_rng(0))
    assert -5 < tissue[label == 3].mean() < 25


def test_most_tumors_enhance_less_than_the_cortex_some_as_much_and_some_more():
    shape = (50, 50, 50)
    label = np.ones(shape, np.uint8)
    corners = [(z, y, x) for z in range(2, 45, 7) for y in range(2, 45, 7) for x in range(2, 45, 7)]
    label[0] = label[-1] = 0
    for z, y, x in corners:
        label[z : z + 5, y : y + 5, x : x + 5] = 2
    tissue = paint_kidneys(label, (2.0, 2.0, 2.0), np.random.default_rng(5))
    cortex = tissue[1][label[1] == 1].mean()
    cores = np.array([tissue[z + 1 : z + 4, y + 1 : y + 4, x + 1 : x + 4].mean() for z, y, x in corners]) - cortex
    assert 0.08 < np.mean(np.abs(cores) < 18) < 0.28
    assert 0.55 < np.mean(cores < -30) < 0.85
    assert np.mean(cores > 15) > 0.1


def test_acquisition_adds_correlated_noise_of_10_to_25_hu_around_the_same_mean():
    for seed in range(4):
        volume = np.full((6, 128, 128), 50, np.int16)
        acquire(volume, spacing_mm=(1.0, 0.8, 0.8), rng=np.random.default_rng(seed))
        assert 9 < volume.std() < 26
        assert abs(volume.mean() - 50) < 2
        neighbours = np.corrcoef(volume[:, :, 1:].ravel(), volume[:, :, :-1].ravel())[0, 1]
        assert neighbours > 0.3


def test_thick_slices_mix_more_with_their_neighbours():
    def step_height(thickness):
        volume = np.zeros((4, 64, 64), np.int16)
        volume[2:] = 1000
        acquire(volume, spacing_mm=(thickness, 2.0, 2.0), rng=np.random.default_rng(0))
        return volume[2].mean() - volume[1].mean()

    assert step_height(5.0) < step_height(0.5) - 200


@pytest.mark.parametrize(
    ("label", "spacing", "message"),
    [
        (np.full((2, 4, 4), 7, np.uint8), SPACING, "values from 7 to 7"),
        (np.full((2, 4, 4), -1, np.int16), SPACING, "values from -1 to -1"),
        (np.zeros((4, 4), np.uint8), SPACING, r"shape \(4, 4\)"),
        (np.zeros((2, 4, 4)), SPACING, "type float64"),
        (np.zeros((2, 4, 4), np.uint8), (1.0, 0.0, 1.0), r"spacing is \(1.0, 0.0, 1.0\)"),
        (np.zeros((2, 4, 4), np.uint8), (1.0, np.nan, 1.0), "three positive numbers"),
    ],
)
def test_bad_input_is_refused_with_its_value(label, spacing, message):
    with pytest.raises(InputError, match=message):
        synthesize_ct(label, spacing, np.random.default_rng(0))


def test_interpolation_reproduces_a_linear_function():
    shape, strides = (9, 11, 7), (2, 5, 3)
    whole = np.sum(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=0).astype(np.float32)
    field = interpolated(whole[::2, ::5, ::3], shape=shape, strides=strides)
    # Beyond the last coarse voxel the value stays: compare up to there.
    np.testing.assert_allclose([field.at(z)[:11, :7] for z in range(9)], whole[:, :11, :7], atol=1e-5)


def test_depth_is_the_euclidean_distance_transform_where_voxels_are_coarse():
    mask = ball((12, 14, 13), center=(6, 7, 6), radius=14, spacing=(3.0, 2.5, 2.5))
    field = depth_mm(mask, spacing_mm=(3.0, 2.5, 2.5), goes_on=False)
    exact = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=(3.0, 2.5, 2.5))[1:-1, 1:-1, 1:-1]
    np.testing.assert_allclose([field.at(z) for z in range(12)], np.maximum(exact - 1.25, 0), atol=1e-4)


def test_depth_counts_the_volumes_faces_only_where_the_mask_ends_there():
    mask = np.zeros((3, 9, 9), bool)
    mask[:, 4:] = True
    ends, goes_on = (depth_mm(mask, spacing_mm=(4.0, 4.0, 4.0), goes_on=flag).at(1) for flag in (False, True))
    np.testing.assert_allclose(goes_on[:, 4], [0, 0, 0, 0, 2, 6, 10, 14, 18], atol=1e-4)
    assert ends.max() < 8


def test_smooth_noise_has_zero_mean_and_unit_variance_and_is_smooth():
    field = smooth_noise((40, 80, 80), spacing_mm=(2.0, 2.0, 2.0), scale_mm=6.0, rng=np.random.default_rng(0))
    values = np.stack([field.at(z) for z in range(40)])
    assert abs(values.mean()) < 0.1
    assert 0.85 < values.std() < 1.15
    assert np.abs(np.diff(values, axis=2)).mean() < 0.5


def test_no_window_of_hu_finds_the_phantoms_tumors():
    cases = [phantom_case(index, in_plane=(64, 64), max_slices=24)[:2] for index in range(6)]
    whole = [(ct, label == 2) for ct, label in cases]
    body = [(ct[ct > -300], label[ct > -300] == 2) for ct, label in cases]
    assert sum(int(tumor.sum()) for _, tumor in whole) > 100
    assert best_window(whole) < 0.4
    assert best_window(body) < 0.4


@pytest.mark.parametrize("case", ["case_00000", "case_00004"])
def test_a_real_label_map_gets_kidneys_brighter_than_fat_and_tumors_that_no_window_finds(shared_data, case):
    path = shared_data / "kits19" / case / "segmentation.nii.gz"
    if not path.exists():
        pytest.skip(f"no {path}")
    stored = nib.load(path)
    steps = (max(1, round(4 / stored.header.get_zooms()[0])), 4, 4)
    label = np.asarray(stored.dataobj)[:: steps[0], :: steps[1], :: steps[2]].astype(np.uint8)
    spacing = tuple(float(mm) * step for mm, step in zip(stored.header.get_zooms(), steps, strict=True))
    ct = synthesize_ct(label, spacing, np.random.default_rng(0))
    assert ct.shape == label.shape
    around = ndimage.binary_dilation(label > 0, iterations=2) & ~ndimage.binary_dilation(label > 0)
    assert ct[label == 1].mean() > 100
    assert ct[around].mean() < 20
    assert best_window([(ct, label == 2)]) < 0.4
