import nibabel as nib
import numpy as np
import pytest

from kidney_lab.data.nifti_forms import check_right_angles, orientation_doubt
from kidney_lab.errors import InputError
from kidney_lab.geometry import Grid


def header(sform=None, qform=None, shape=(11, 21, 31)):
    image = nib.Nifti1Image(np.zeros(shape, np.uint8), np.eye(4))
    image.set_sform(sform, code=0 if sform is None else 1)
    image.set_qform(qform, code=0 if qform is None else 1)
    return image.header


def affine(*spacing, origin=(0, 0, 0)):
    result = np.diag([*spacing, 1.0])
    result[:3, 3] = origin
    return result


def test_a_header_with_one_form_or_two_that_agree_is_clear():
    one = affine(-0.7, 0.8, 2.5, origin=(100, -50, 333.3))

    assert orientation_doubt(header(one, one)) is None
    assert orientation_doubt(header(one)) is None
    assert orientation_doubt(header(None, one)) is None


def test_forms_that_differ_are_told_with_both_and_the_worst_distance():
    doubt = orientation_doubt(header(affine(1, 1, 3), affine(1, 1, 2.5, origin=(0, 3, 0))))

    # The last of 31 slices lies 30 * 0.5 mm off, and all of them 3 mm: 15.3 mm.
    assert doubt == (
        "sform (RAS, spacing 1 x 1 x 3 mm, origin 0.0, 0.0, 0.0) and qform (RAS, spacing 1 x 1 x 2.5 mm, origin 0.0, "
        "3.0, 0.0) put voxels up to 15.3 mm apart; the sform is used, as nibabel does."
    )


def test_forms_that_differ_by_rounding_are_clear():
    assert orientation_doubt(header(affine(1, 1, 3), affine(1, 1, 3.003))) is None  # 0.09 mm at the last slice
    assert orientation_doubt(header(affine(1, 1, 3), affine(1, 1, 3.004))) is not None


def test_a_mirrored_qform_is_told_by_its_letters():
    doubt = orientation_doubt(header(affine(1, 1, 3), affine(-1, 1, 3)))

    assert "sform (RAS," in doubt
    assert "qform (LAS," in doubt


def test_a_qform_that_is_no_rotation_is_told():
    broken = header(affine(1, 1, 3), affine(1, 1, 3))
    broken["quatern_b"], broken["quatern_c"] = 0.9, 0.9

    assert orientation_doubt(broken).startswith("the qform is no rotation (")


def test_a_header_without_a_form_is_told():
    doubt = orientation_doubt(header())

    assert doubt == "the header has neither sform nor qform, so the orientation is a guess (LAS, nibabel's)."


def test_axes_off_right_angles_are_refused_with_the_angle():
    turn = np.array([[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, 1]])

    def sheared(degrees):
        result = affine(0.7, 0.8, 2.5)
        result[1, 2] = 2.5 * np.tan(np.radians(degrees))
        result[:3, :3] = turn @ result[:3, :3]
        return Grid((4, 5, 6), result)

    check_right_angles(sheared(0.0), "a.nii")
    check_right_angles(sheared(0.57), "a.nii")
    with pytest.raises(InputError, match=r"a\.nii has axes that are 0\.7 degrees off right angles .*above 0\.6"):
        check_right_angles(sheared(-0.7), "a.nii")


@pytest.mark.parametrize("image_class", [nib.Nifti1Image, nib.Nifti2Image])
def test_nifti_1_and_2_are_looked_at(image_class):
    image = image_class(np.zeros((4, 5, 6), np.uint8), np.eye(4))
    image.set_qform(affine(1, 1, 2), code=1)

    assert orientation_doubt(image.header) is not None
