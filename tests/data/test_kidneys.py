"""The phantom's label maps: sizes, counts and positions as designed, and the scan around them."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from kidney_lab.data.kidneys import Design, Kidney, Mass, draw_design


@pytest.fixture(scope="module")
def designs():
    return [draw_design(np.random.default_rng([7, index]), in_plane=(192, 256), max_slices=160) for index in range(120)]


def mass(center=(0.0, 0.0, 0.0), radius=12.0, *, roughness=0.0, value=2):
    return Mass(value, np.array(center), radius, np.ones((3, 4)), roughness)


def test_a_smooth_mass_is_a_ball():
    points = np.stack(np.meshgrid(*[np.arange(-15, 16.0)] * 3, indexing="ij"), axis=-1)
    assert mass().holds(points).sum() == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.02)


def test_a_kidney_is_a_bean_with_a_sinus_towards_its_hilum():
    kidney = Kidney(np.zeros(3), np.eye(3), np.array([55.0, 26.0, 28.0]))
    assert kidney.holds(np.array([0.0, 0.0, -20.0]))  # the lateral rim
    assert not kidney.holds(np.array([0.0, 0.0, 20.0]))  # the sinus
    assert kidney.holds(np.array([48.0, 0.0, 8.0]))  # a pole leans to the hilum's side
    assert not kidney.holds(np.array([48.0, 0.0, -14.0]))


def test_surface_points_lie_on_the_boundary():
    kidney = Kidney(np.array([5.0, -3.0, 60.0]), np.eye(3)[[0, 2, 1]], np.array([55.0, 26.0, 28.0]))
    for direction in ([1.0, 0, 0], [0, -1.0, 0], [0, 0, -1.0], [0.6, 0.48, -0.64]):
        point, normal = kidney.surface(np.array(direction))
        assert kidney.holds(point - 0.5 * normal)
        assert not kidney.holds(point + 0.5 * normal)


def test_a_tumor_smaller_than_a_voxel_keeps_one():
    design = Design((3, 4, 4), (9.0, 9.0, 9.0), np.zeros(3), (), (mass((13.0, 4.0, 22.0), 2.5),))
    label = design.rasterize()
    assert label[1, 0, 2] == 2
    assert (label == 2).sum() == 1


def test_rasterized_volume_is_the_designed_one():
    design = Design((40, 50, 60), (2.0, 1.0, 1.5), np.array([-40.0, -25.0, -45.0]), (), (mass(radius=20.0),))
    label = design.rasterize()
    assert (label == 2).sum() * 3.0 == pytest.approx(4 / 3 * np.pi * 20**3, rel=0.02)
    center = np.array(ndimage.center_of_mass(label == 2)) * design.spacing + design.first
    np.testing.assert_allclose(center, 0, atol=0.1)


def test_tumors_are_5_to_80_mm_with_the_median_of_kits(designs):
    largest = [design.tumors_mm[0] for design in designs]
    every = [mm for design in designs for mm in design.tumors_mm]
    assert min(every) >= 5
    assert max(every) <= 80
    assert 30 < np.median(largest) < 45
    assert np.mean([len(design.tumors_mm) == 1 for design in designs]) > 0.65
    assert {len(design.tumors_mm) for design in designs} <= {1, 2, 3}


def test_a_third_of_cases_has_cysts_and_nearly_all_have_two_kidneys(designs):
    with_cysts = np.mean([any(m.value == 3 for m in design.masses) for design in designs])
    assert 0.2 < with_cysts < 0.47
    assert 0.85 < np.mean([len(design.kidneys) == 2 for design in designs]) < 1


def test_tumors_reach_from_inside_the_kidney_to_outside(designs):
    depths = []
    for design in designs[:60]:
        tumor = design.masses[-1]
        points = np.random.default_rng(0).uniform(-1, 1, size=(400, 3)) * tumor.radius + tumor.center
        points = points[tumor.holds(points)]
        depths.append(max(kidney.holds(points).mean() for kidney in design.kidneys))
    assert min(depths) < 0.25
    assert max(depths) > 0.85


def test_slices_are_spread_like_kits_and_no_more_than_allowed(designs):
    thickness = np.array([design.spacing[0] for design in designs])
    assert all(design.shape[0] <= 160 for design in designs)
    assert 0.5 <= thickness.min() < 1.5
    assert thickness.max() == 5
    assert 2 <= np.median(thickness) <= 4
    assert len(np.unique(thickness)) >= 6
    fields = [design.spacing[2] * design.shape[2] for design in designs]
    assert min(fields) >= 329
    assert max(fields) <= 421


@pytest.mark.parametrize("max_slices", [16, 24, 160])
def test_a_scan_covers_its_kidneys_whole_however_few_its_slices(max_slices):
    for seed in range(8):
        design = draw_design(np.random.default_rng(seed), in_plane=(48, 48), max_slices=max_slices)
        label = design.rasterize()
        assert label.shape[0] <= max_slices
        assert not label[0].any()
        assert not label[-1].any()
        assert (label == 2).any()


def test_most_of_the_kidneys_is_left_beside_large_tumors(designs):
    for design in sorted(designs, key=lambda design: design.tumors_mm[0])[-3:]:
        shape, spacing = tuple(n // 4 for n in design.shape), tuple(4 * step for step in design.spacing)
        coarse = replace(design, shape=shape, spacing=spacing)
        alone = replace(coarse, masses=())
        assert (coarse.rasterize() == 1).sum() > 0.5 * (alone.rasterize() == 1).sum()


def test_the_right_kidney_is_in_the_low_columns_and_upper_poles_lean_to_the_spine(designs):
    for design in designs[:20]:
        for kidney in design.kidneys:
            lateral = np.sign(kidney.center[2])
            assert kidney.axes[0] @ np.array([1.0, 0, lateral]) > 0  # downwards goes outwards
            assert kidney.axes[2] @ np.array([0, 0, lateral]) < 0  # the hilum looks inwards
            np.testing.assert_allclose(kidney.axes @ kidney.axes.T, np.eye(3), atol=1e-9)
        if len(design.kidneys) == 2:
            right, left = design.kidneys
            assert right.center[2] < 0 < left.center[2]
