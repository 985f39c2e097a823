"""The trunk: cross-sections of ellipsoids against their formula, and a body that holds its kidneys."""

import numpy as np
import pytest

from kidney_lab.data.anatomy import Ellipsoid, Plane, draw_body, outline_level, renal_vessels


def plane(z=0.0, *, half_mm=50, slack=0.0):
    axis = np.arange(-half_mm, half_mm + 1, dtype=np.float32)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    return Plane(z=z, y=y, x=x, texture=np.zeros_like(y), rows=axis, columns=axis, slack=slack)


@pytest.mark.parametrize("angle", [0.0, 0.7, -2.0])
@pytest.mark.parametrize("z", [0.0, 12.0])
def test_cross_section_of_an_ellipsoid_has_the_area_of_its_ellipse(z, angle):
    canvas = np.zeros((101, 101), np.float32)
    Ellipsoid((0, 3, -4), (20, 15, 30), 70.0, angle=angle).paint(canvas, plane(z))
    assert (canvas == 70).sum() == pytest.approx(np.pi * 15 * 30 * (1 - (z / 20) ** 2), rel=0.02)


def test_an_ellipsoid_leaves_slices_beyond_it_and_outside_the_field_alone():
    canvas = np.zeros((101, 101), np.float32)
    Ellipsoid((0, 0, 0), (20, 15, 30), 70.0).paint(canvas, plane(21.0))
    Ellipsoid((0, 0, 400), (20, 15, 30), 70.0).paint(canvas, plane())
    assert not canvas.any()


def test_a_tube_has_the_same_cross_section_at_every_height():
    for z in (-1000.0, 0.0, 350.0):
        canvas = np.zeros((101, 101), np.float32)
        Ellipsoid((0, 0, 0), (np.inf, 10, 10), 50.0).paint(canvas, plane(z))
        assert (canvas == 50).sum() == pytest.approx(np.pi * 100, rel=0.03)


def test_rotation_turns_from_x_towards_y():
    canvas = np.zeros((101, 101), np.float32)
    Ellipsoid((0, 0, 0), (10, 3, 40), 50.0, angle=np.pi / 4).paint(canvas, plane())
    assert canvas[50 + 20, 50 + 20] == 50
    assert canvas[50 + 20, 50 - 20] == 0


@pytest.mark.parametrize("reach", [40.0, 120.0, 260.0])
def test_the_cavity_holds_every_kidney_point(reach):
    corners = np.array([[y, x] for y in (-reach, reach) for x in (-reach, reach)], np.float32)
    for seed in range(5):
        body = draw_body(corners, field_mm=(300, 400), z_range=(-100, 100), rng=np.random.default_rng(seed))
        level = outline_level(
            corners[:, 0] - body.center_y, corners[:, 1], half_depth=body.half_depth, half_width=body.half_width
        )
        assert body.fat_mm > 0
        assert (level < (1 - (body.fat_mm + 11) / body.half_depth) ** 2.5).all()


def test_a_slice_has_air_around_fat_around_muscle():
    body = draw_body(np.empty((0, 2), np.float32), field_mm=(300, 400), z_range=(-50, 50), rng=np.random.default_rng(0))
    canvas = body.paint_trunk(plane(300.0, half_mm=200, slack=1.0))
    center = 200 + round(body.center_y)
    profile = canvas[center, 200 + np.arange(200)]
    edge = int(body.half_width)
    assert (profile[edge + 2 :] == -1000).all()
    assert profile[edge - 1] == pytest.approx(20)
    assert profile[edge - 5] == pytest.approx(-105)


def test_renal_vessels_run_from_the_midline_to_each_kidney():
    right, left = (0.0, 5.0, -70.0), (10.0, 5.0, 70.0)
    vessels = renal_vessels([right, left], np.random.default_rng(0))
    assert len(vessels) == 4
    assert all(part.center[2] < 0 for part in vessels[:2])
    assert all(part.center[2] > 0 for part in vessels[2:])
    assert renal_vessels([], np.random.default_rng(0)) == ()
