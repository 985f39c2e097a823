import numpy as np
import pytest

from kidney_lab.data.views.artefacts import body_mask, check_artefacts, without_artefacts
from kidney_lab.errors import InputError


def scan():
    """A slice of a body with a bubble of air and a clip of metal in it, on a thin table, beside an arm; and padding."""
    h, w = np.ogrid[:60, :80]
    plane = np.full((60, 80), -1000, np.int16)
    body = ((h - 28) / 20.0) ** 2 + ((w - 36) / 28.0) ** 2 < 1
    plane[body] = 40
    plane[20:26, 30:36] = -950  # gas in the bowel
    plane[30, 40] = 15_000
    plane[20:32, 70:78] = 30  # an arm
    plane[50:52, 4:76] = 100  # the table
    plane[:3] = -3024  # outside of the field of view
    return plane[None], body


def test_nothing_happens_unless_asked_for():
    planes, _ = scan()

    assert without_artefacts(planes, "none") is planes


def test_values_that_no_tissue_has_are_clipped():
    planes, _ = scan()

    clipped = without_artefacts(planes, "clip")

    assert (clipped.min(), clipped.max(), clipped.dtype) == (-1024, 3071, np.int16)
    tissue = (planes >= -1024) & (planes <= 3071)
    np.testing.assert_array_equal(clipped[tissue], planes[tissue])


def test_all_outside_the_body_becomes_air_and_what_it_encloses_stays():
    planes, body = scan()

    cleaned = without_artefacts(planes, "body")[0]

    assert (cleaned[~body] == -1000).all()  # table, arm and padding
    assert cleaned[22, 32] == -950
    assert cleaned[30, 40] == 3071
    kept = cleaned != -1000
    assert kept[body].mean() > 0.98  # the opening rounds a few pixels of the border off
    assert (cleaned[kept & body] == np.minimum(planes[0], 3071)[kept & body]).all()


def test_a_body_that_reaches_the_border_keeps_its_border():
    planes = np.full((2, 20, 20), 40, np.int16)

    assert body_mask(planes).all()


def test_a_slice_without_a_body_stays_as_it_is():
    planes = np.full((1, 20, 20), -1000, np.int16)
    planes[0, 10] = 0  # a cable alone

    np.testing.assert_array_equal(without_artefacts(planes, "body"), planes)


def test_an_unknown_handling_is_refused():
    with pytest.raises(InputError, match=r"view\.artefacts=metal is unknown: choose none, clip, body"):
        check_artefacts("metal")
