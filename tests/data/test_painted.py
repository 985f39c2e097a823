import numpy as np
import pytest

from kidney_lab.data import synthesis
from kidney_lab.data.kits import find_cases
from kidney_lab.data.nifti import write_volume
from kidney_lab.data.painted import painted_once
from kidney_lab.geometry import Volume, grid_from_spacing


def write_label(root, *, tumor_at=(2, 3, 4)):
    label = np.zeros((6, 8, 10), np.uint8)
    label[1:4, 2:6, 3:8] = 1
    label[tumor_at] = 2
    write_volume(root / "case_00000" / "segmentation.nii.gz", Volume(label, grid_from_spacing(label.shape, (3, 1, 1))))


@pytest.fixture
def case(tmp_path):
    write_label(tmp_path / "kits")
    (found,) = find_cases(tmp_path / "kits", synthesize_missing_images=True)
    return found


def test_the_kept_image_is_the_painted_one_and_is_not_painted_again(case, tmp_path, monkeypatch):
    first = painted_once(case, tmp_path / "painted")
    monkeypatch.setattr(synthesis, "synthesize_ct", lambda *_: pytest.fail("painted again"))
    second = painted_once(case, tmp_path / "painted")

    monkeypatch.undo()
    expected = case.read_image()
    for image in (first, second):
        assert image.array.dtype == np.int16
        assert image.array.flags.c_contiguous
        np.testing.assert_array_equal(image.array, expected.array)
        assert image.grid.same_as(expected.grid, 0.0)


def test_another_label_map_or_another_recipe_is_painted_anew(case, tmp_path, monkeypatch):
    painted_once(case, tmp_path / "painted")
    monkeypatch.setattr(synthesis, "RECIPE", -1)
    painted_once(case, tmp_path / "painted")
    write_label(tmp_path / "kits", tumor_at=(3, 3, 4))

    changed = painted_once(case, tmp_path / "painted")

    np.testing.assert_array_equal(changed.array, case.read_image().array)
    assert len([*(tmp_path / "painted").iterdir()]) == 3
