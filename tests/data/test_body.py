import numpy as np
import pytest

from kidney_lab.data.body import body_box
from kidney_lab.data.nifti import read_volume
from kidney_lab.geometry import reorient


def scan(shape=(20, 256, 256), *, body=((0, 20), (60, 160), (40, 220)), table=True):
    image = np.full(shape, -1000, np.int16)
    image[tuple(slice(*extent) for extent in body)] = 40
    if table:
        image[:, 163:166, 10:250] = 200
    return image


def test_the_box_holds_the_body_and_leaves_out_the_table():
    d, h, w = body_box(scan())

    assert d == slice(0, 20)
    assert 50 <= h.start <= 60
    assert 160 <= h.stop <= 166
    assert 30 <= w.start <= 40
    assert 220 <= w.stop <= 230


def test_a_table_that_touches_the_body_is_left_out_across():
    image = scan()
    image[:, 160:163, 10:250] = 200

    _, _, w = body_box(image)

    assert w.start >= 30
    assert w.stop <= 230


def test_slices_that_the_body_does_not_reach_are_left_out():
    d, _, _ = body_box(scan(body=((8, 14), (60, 160), (40, 220))))

    assert d == slice(6, 16)


def test_a_body_cut_by_the_field_of_view_keeps_its_edge():
    d, h, w = body_box(scan(body=((0, 20), (0, 256), (0, 256)), table=False))

    assert (d, h, w) == (slice(0, 20), slice(0, 256), slice(0, 256))


def test_of_two_things_the_larger_counts():
    image = scan(table=False)
    image[:, 200:220, 0:20] = 40  # an arm

    assert body_box(image)[1].stop <= 170


@pytest.mark.parametrize("hu", [-1000, -2048])
def test_a_volume_without_a_body_is_kept_whole(hu):
    assert body_box(np.full((3, 40, 50), hu, np.int16)) == (slice(0, 3), slice(0, 40), slice(0, 50))


def test_one_slice_and_tiny_volumes_work():
    assert body_box(np.zeros((1, 2, 2), np.int16)) == (slice(0, 1), slice(0, 2), slice(0, 2))


def test_the_kidneys_of_a_real_scan_lie_in_the_box(shared_data):
    image = reorient(read_volume(shared_data / "ct" / "abdomen_3mm.nii.gz")).array
    kidneys = reorient(read_volume(shared_data / "ct" / "abdomen_3mm_kidneys.nii.gz")).array

    box = body_box(image)

    assert np.count_nonzero(kidneys[box]) == np.count_nonzero(kidneys) > 0
    body = image > -300
    assert np.count_nonzero(body[box]) > 0.97 * np.count_nonzero(body)
