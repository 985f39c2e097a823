from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kidney_lab.data.dicom_slices import Slice
from kidney_lab.data.dicom_stack import stack
from kidney_lab.errors import InputError

FIRST = Slice(
    path=Path("in/0"), frame=0, series="1.2.3", description="CT Body", modality="CT", localizer=False, samples=1,
    shape=(6, 5), position=(0.0, 0.0, 0.0), orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0), spacing=(0.7, 0.9),
    rescale=(1.0, -1024.0), tilt=0.0, problem=None,
)  # fmt: skip


def slices(positions, **changes):
    """Slices at positions `(x, y, z)` mm or `z`, named by their number from 0."""
    places = [(0.0, 0.0, float(p)) if np.isscalar(p) else tuple(map(float, p)) for p in positions]
    return [replace(FIRST, path=Path(f"in/{k}"), position=place, **changes) for k, place in enumerate(places)]


def test_slices_are_ordered_from_head_to_feet():
    ordered, grid = stack(slices([10, 40, 20, 30]))

    assert [s.path.name for s in ordered] == ["1", "3", "2", "0"]
    assert grid.shape == (4, 6, 5)
    assert grid.spacing == pytest.approx((10, 0.7, 0.9))
    np.testing.assert_allclose(grid.affine @ [3, 0, 0, 1], [0, 0, 10, 1], atol=1e-9)


def test_rounded_positions_are_a_regular_stack():
    exact = 5 / 7 * np.arange(400)

    _, grid = stack(slices(np.round(exact, 1)))

    assert grid.spacing[0] == pytest.approx(np.round(exact[-1], 1) / 399)


def test_a_missing_slice_is_named_with_its_neighbours():
    with pytest.raises(InputError, match=r"not evenly spaced: 15\.00 mm from 4 to 3, elsewhere 5\.00 mm \(2 missing"):
        stack(slices([0, 5, 10, 15, 30, 35, 40, 45]))


@pytest.mark.parametrize("at", [1, 10, 98])
def test_one_missing_slice_of_a_hundred_is_found_wherever_it_is(at):
    with pytest.raises(InputError, match=r"2\.00 mm from .* elsewhere 1\.00 mm \(1 missing"):
        stack(slices([z for z in range(100) if z != at]))


def test_two_halves_of_different_spacing_are_refused_though_each_step_is_close():
    steps = [5.0] * 50 + [5.3] * 50

    with pytest.raises(InputError, match=r"5\.30 mm from"):
        stack(slices(np.concatenate([[0], np.cumsum(steps)])))


def test_slices_in_one_place_are_counted_and_named():
    with pytest.raises(InputError, match=r"has 2 slices in the place of another, such as 0 and 3"):
        stack(slices([30, 20, 10, 30, 20]))


def test_one_slice_is_no_volume():
    with pytest.raises(InputError, match="'CT Body' in in has one slice, but a volume needs two"):
        stack(slices([10]))


def test_slices_that_shift_sideways_were_scanned_with_a_tilt():
    tilted = (1.0, 0.0, 0.0, 0.0, np.cos(np.radians(15)), np.sin(np.radians(15)))

    with pytest.raises(InputError, match=r"gantry tilt of 15\.0 degrees .* shifted by .* dcm2niix"):
        stack(slices(range(0, 80, 5), orientation=tilted))


def test_slices_at_right_angles_to_their_stack_are_not_tilted_however_oblique():
    normal = np.array([0, -np.sin(0.3), np.cos(0.3)])
    tilted = (1.0, 0.0, 0.0, 0.0, np.cos(0.3), np.sin(0.3))

    _, grid = stack(slices([tuple(5 * k * normal) for k in range(10)], orientation=tilted))

    assert grid.skew_degrees == pytest.approx(0, abs=1e-6)
    assert grid.spacing[0] == pytest.approx(5)


def test_a_shift_of_a_tenth_of_a_pixel_is_rounding():
    _, grid = stack(slices([(0.01 * k, 0, 5 * k) for k in range(8)]))

    assert grid.skew_degrees == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("tilt", "refused"), [(0.3, False), (-12.0, True)])
def test_the_header_may_say_that_the_gantry_was_tilted(tilt, refused):
    series = slices([0, 5, 10], tilt=tilt)

    if refused:
        with pytest.raises(InputError, match=r"gantry tilt of 12\.0 degrees \(its header says so\)"):
            stack(series)
    else:
        assert stack(series)[1].shape == (3, 6, 5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shape": (6, 6)}, r"rows and columns, \(6, 5\) in 0 and \(6, 6\) in 2"),
        ({"spacing": (0.7, 0.8)}, r"pixel spacing \(mm\), \(0\.7, 0\.9\) in 0 and \(0\.7, 0\.8\) in 2"),
        ({"orientation": (0.0, 1.0, 0.0, -1.0, 0.0, 0.0)}, "orientation, "),
    ],
)
def test_slices_that_differ_are_refused_with_both_values(change, words):
    series = slices([0, 5, 10])

    with pytest.raises(InputError, match=f"mixes {words}"):
        stack([*series[:2], replace(series[2], **change)])


@pytest.mark.parametrize(
    ("field", "tag"),
    [
        ("position", "ImagePositionPatient"),
        ("orientation", "ImageOrientationPatient"),
        ("spacing", "PixelSpacing"),
        ("rescale", "RescaleSlope and RescaleIntercept"),
    ],
)
def test_a_slice_without_its_geometry_is_named(field, tag):
    series = slices([0, 5, 10])

    with pytest.raises(InputError, match=f"in/1 has no usable {tag}"):
        stack([series[0], replace(series[1], **{field: None}), series[2]])
