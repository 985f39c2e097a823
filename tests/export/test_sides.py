import numpy as np
import pytest

from kidney_lab.data.nifti import read_volume
from kidney_lab.export.sides import find_sides, outline, thinnest_place, world_points
from kidney_lab.geometry import Grid, Volume, grid_from_spacing, reorient

SPACING = (5.0, 2.0, 2.0)
SHAPE = (20, 60, 100)  # 200 mm from the patient's right (column 0) to the left
RIGHT, LEFT = np.s_[5:15, 20:40, 10:30], np.s_[4:14, 20:40, 68:90]
ORIENTATIONS = [("I", "P", "L"), ("R", "A", "S"), ("L", "P", "S"), ("P", "I", "R"), ("A", "L", "I")]


def kidneys(*boxes, shape=SHAPE) -> Volume:
    labels = np.zeros(shape, np.uint8)
    for box in boxes:
        labels[box] = 1
    return Volume(labels, grid_from_spacing(shape, SPACING))


def ml(volume: Volume, side: str) -> float:
    return len(find_sides(volume).renal[side]) * float(np.prod(SPACING)) / 1000


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_sides_are_the_patients_in_every_orientation(orientation):
    turned = reorient(kidneys(RIGHT, LEFT), orientation)
    assert ml(turned, "right") == pytest.approx(10 * 20 * 20 * 0.02)
    assert ml(turned, "left") == pytest.approx(10 * 20 * 22 * 0.02)


def test_sides_hold_on_a_rotated_grid():
    turned = kidneys(RIGHT, LEFT)
    angle = np.deg2rad(20)
    rotation = np.eye(4)
    rotation[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    oblique = Volume(turned.array, Grid(SHAPE, rotation @ turned.grid.affine))
    assert (ml(oblique, "right"), ml(oblique, "left")) == pytest.approx((80.0, 88.0))


@pytest.mark.parametrize(("box", "side"), [(RIGHT, "right"), (LEFT, "left")])
def test_a_single_kidney_has_the_side_of_the_scan_that_it_lies_on(box, side):
    found = find_sides(kidneys(box)).renal
    assert len(found[side]) > 0
    assert len(found["left"]) + len(found["right"]) == len(found[side])


def test_kidneys_off_the_middle_of_the_scan_are_still_two():
    right, left = np.s_[5:15, 20:40, 0:20], np.s_[5:15, 20:40, 45:70]  # all of the left one before column 70 of 160
    volume = kidneys(right, left, shape=(20, 60, 160))
    assert (ml(volume, "right"), ml(volume, "left")) == pytest.approx((80.0, 100.0))


def test_a_single_kidney_that_a_tumor_has_stretched_is_not_parted():
    stretched = kidneys(np.s_[5:15, 20:40, 28:98])  # 140 mm wide, without a gap
    assert ml(stretched, "left") == pytest.approx(10 * 20 * 70 * 0.02)
    close_together = kidneys(np.s_[5:15, 20:40, 20:50], np.s_[5:15, 20:40, 60:90])  # 140 mm wide, a gap of 20 mm
    assert ml(close_together, "left") == ml(close_together, "right") == pytest.approx(10 * 20 * 30 * 0.02)


def test_a_horseshoe_is_parted_at_its_isthmus():
    isthmus = np.s_[12:13, 30:33, 30:68]
    volume = kidneys(RIGHT, LEFT, isthmus)
    assert ml(volume, "right") == pytest.approx(80 + 1.14, abs=0.5)  # and half of the isthmus
    assert ml(volume, "left") == pytest.approx(88 + 1.14, abs=0.5)
    assert ml(volume, "right") + ml(volume, "left") == pytest.approx(168 + 38 * 3 * 0.02)


def test_without_renal_tissue_lesions_lie_on_the_sides_of_the_scan():
    sides = find_sides(kidneys())
    assert sides.of(np.array([[-20.0, 0.0, 0.0]])) == "right"  # world x runs from 0 (right) to -198 mm
    assert sides.of(np.array([[-180.0, 0.0, 0.0]])) == "left"


def test_a_lesion_belongs_to_the_kidney_that_it_touches_even_beyond_the_middle():
    volume = kidneys(RIGHT, LEFT)
    lesion = np.zeros(SHAPE, np.bool_)
    lesion[8:12, 22:38, 30:62] = True  # grown from the right kidney over the middle (column 49)
    assert find_sides(volume).of(world_points(outline(lesion), volume.grid)) == "right"


def test_a_lesion_in_the_place_of_a_lost_kidney_has_that_ones_side():
    volume = kidneys(RIGHT)
    lesion = np.zeros(SHAPE, np.bool_)
    lesion[LEFT] = True
    assert find_sides(volume).of(world_points(outline(lesion), volume.grid)) == "left"


def test_the_thinnest_place_is_looked_for_in_the_middle_third_alone():
    width = np.arange(0.0, 151.0)
    everywhere_but = width[(width < 20) | ((width > 25) & (width < 60)) | (width > 70)]  # gaps at 20-25 and 60-70
    place, amount = thinnest_place(everywhere_but, voxel_mm=1.0)
    assert (place, amount) == (pytest.approx(65, abs=4), 0)
    place, amount = thinnest_place(width, voxel_mm=1.0)
    assert place == pytest.approx(75, abs=4)
    assert amount > 0


def test_the_outline_is_what_has_a_face_outside():
    box = np.zeros((5, 5, 5), np.bool_)
    box[1:4, 1:4, 1:4] = True
    assert outline(box).sum() == 26
    assert outline(np.ones((3, 3, 3), np.bool_)).sum() == 26  # beyond the array is outside


@pytest.mark.slow
def test_the_horseshoe_of_kits_gets_two_halves(shared_data):
    volume = read_volume(shared_data / "kits19" / "case_00005" / "segmentation.nii.gz")
    sides = find_sides(volume)
    assert len(sides.renal["left"]) / (volume.array == 1).sum() == pytest.approx(0.5, abs=0.1)
