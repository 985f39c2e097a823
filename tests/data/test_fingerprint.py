import nibabel as nib
import numpy as np
import pytest

from kidney_lab.data.fingerprint import Fingerprint, statistics_frame, take_fingerprint
from kidney_lab.data.kits import find_cases
from kidney_lab.errors import InputError

SPACINGS = [(5.0, 0.5, 0.75), (0.5, 1.0, 1.0), (3.0, 0.75, 0.5), (2.0, 0.625, 0.875), (1.25, 0.75, 0.75)]
SHAPES = [(4, 8, 9), (40, 8, 8), (11, 16, 8), (12, 9, 8), (7, 8, 10)]


def write(path, shape, spacing):
    """A file in KiTS's orientation, (D, H, W) from superior, anterior and right on."""
    d, h, w = spacing
    affine = np.array([[0, 0, -w, 0], [0, -h, 0, 0], [-d, 0, 0, 0], [0, 0, 0, 1.0]])
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.zeros(shape, np.uint8), affine), path)


@pytest.fixture
def root(tmp_path):
    for k, (shape, spacing) in enumerate(zip(SHAPES, SPACINGS, strict=True)):
        name = "imaging.nii.gz" if k % 2 else "segmentation.nii.gz"
        write(tmp_path / f"case_{k:05d}" / name, shape, spacing)
    return tmp_path


def test_headers_of_images_or_else_of_references_give_every_statistic(root):
    found = take_fingerprint(find_cases(root))

    statistics = found.statistics()
    extents = np.array(SPACINGS) * np.array(SHAPES)
    for quantity, values in (("spacing", SPACINGS), ("shape", SHAPES), ("extent", extents)):
        values = np.array(values)
        expected = {
            "mean": np.mean(values, 0),
            "median": np.median(values, 0),
            "max": np.max(values, 0),
            "min": np.min(values, 0),
            "q1": np.quantile(values, 0.25, axis=0),
            "q3": np.quantile(values, 0.75, axis=0),
        }
        assert [*statistics[quantity]] == [*expected]
        for name, axes in expected.items():
            assert statistics[quantity][name] == pytest.approx(tuple(axes))
    assert statistics["spacing"]["q1"][0] == pytest.approx(1.25)  # the thesis' own: second of five


def test_a_file_in_another_orientation_counts_along_the_same_axes(tmp_path):
    write(tmp_path / "case_00000" / "imaging.nii.gz", (4, 8, 9), (5.0, 0.5, 0.75))
    stored = nib.load(tmp_path / "case_00000" / "imaging.nii.gz")
    other = stored.as_reoriented(nib.orientations.ornt_transform([[2, -1], [1, -1], [0, -1]], [[0, 1], [1, 1], [2, 1]]))
    assert other.shape == (9, 8, 4)
    nib.save(other, tmp_path / "case_00000" / "imaging.nii.gz")

    found = take_fingerprint(find_cases(tmp_path))

    assert found.shapes.tolist() == [[4, 8, 9]]
    assert found.spacings[0] == pytest.approx([5.0, 0.5, 0.75])


def test_no_voxel_is_read(root):
    """The voxels are cut off; the header says all."""
    path = root / "case_00000" / "segmentation.nii"
    (root / "case_00000" / "segmentation.nii.gz").unlink()
    write(path, SHAPES[0], SPACINGS[0])
    path.write_bytes(path.read_bytes()[:352])

    cases = find_cases(root, label_files=["segmentation.nii", "segmentation.nii.gz"])

    assert take_fingerprint(cases).shapes[0].tolist() == [4, 8, 9]


def test_tables_name_their_axes_and_units():
    found = Fingerprint(("case_00007",), np.array([[3.0, 0.75, 0.5]]), np.array([[10, 20, 40]]))

    row = found.frame().iloc[0].to_dict()
    tidy = statistics_frame(found.statistics()).set_index(["quantity", "statistic"])

    assert row == {
        "case": "case_00007",
        **{"spacing_d": 3.0, "spacing_h": 0.75, "spacing_w": 0.5, "shape_d": 10, "shape_h": 20, "shape_w": 40},
    }
    assert tidy.loc[("extent", "max")].to_dict() == {"unit": "mm", "d": 30.0, "h": 15.0, "w": 20.0}


def test_no_case_is_an_error():
    with pytest.raises(InputError, match="no cases to take a fingerprint of: choose others by"):
        take_fingerprint([])


def test_the_table_of_the_thesis_is_near_on_the_masks_that_are_here(shared_data):
    """Table 4.1 is over 210 cases; of the masks here the smallest, largest and median spacing are the same."""
    found = take_fingerprint(find_cases(shared_data / "kits19"))

    spacing = found.statistics()["spacing"]
    assert len(found.cases) == 120
    assert np.round(spacing["max"], 2).tolist() == [5.00, 1.04, 1.04]
    assert np.round(spacing["min"], 2).tolist() == [0.50, 0.44, 0.44]
    assert spacing["q3"][0] == 5.0
    assert spacing["median"] == pytest.approx((3.00, 0.78, 0.78), abs=0.02)
    assert spacing["mean"] == pytest.approx((3.18, 0.80, 0.80), abs=0.1)
