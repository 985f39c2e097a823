import json
import shutil
from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from kidney_lab.data.nifti import write_volume
from kidney_lab.data.scans import Scan, check_scans, find_scans
from kidney_lab.errors import InputError
from kidney_lab.geometry import Grid, Volume, reorient

ORIENTATIONS = [
    tuple(pair[sign] for pair, sign in zip(axes, signs, strict=True))
    for axes in permutations(("LR", "PA", "IS"))
    for signs in product((0, 1), repeat=3)
]


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write_nifti(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5), np.int16), np.eye(4)), path)


def names(scans):
    return [(scan.name, scan.kind) for scan in scans]


def test_a_file_is_one_scan(tmp_path, write_series):
    touch(tmp_path / "a.b.nii.gz", tmp_path / "case_00001" / "imaging.nii.gz")
    write_series(tmp_path / "series", n=2)
    shutil.move(tmp_path / "series" / "IM0000.dcm", tmp_path / "series" / "1.2.840.7")

    assert find_scans(tmp_path / "a.b.nii.gz") == [Scan("a.b", tmp_path / "a.b.nii.gz", "nifti")]
    assert names(find_scans(tmp_path / "case_00001" / "imaging.nii.gz")) == [("case_00001", "nifti")]
    assert names(find_scans(tmp_path / "series" / "IM0001.dcm")) == [("IM0001", "dicom")]
    assert names(find_scans(tmp_path / "series" / "1.2.840.7")) == [("1.2.840.7", "dicom")]


def test_a_folder_of_slices_is_one_scan_named_by_it_wherever_one_stands(tmp_path, write_series, monkeypatch):
    write_series(tmp_path / "my series")
    monkeypatch.chdir(tmp_path / "my series")

    for path in (tmp_path / "my series", tmp_path / "my series" / ".." / "my series", type(tmp_path)(".")):
        assert names(find_scans(path)) == [("my series", "dicom")]


def test_nifti_files_beside_dicom_are_not_scans_again(tmp_path, write_series):
    write_series(tmp_path / "ct")
    touch(tmp_path / "ct" / "ct.nii.gz")

    assert names(find_scans(tmp_path / "ct")) == [("ct", "dicom")]


def test_a_folder_of_nifti_files_is_a_scan_each(tmp_path):
    touch(tmp_path / "b.nii", tmp_path / "a.NII.GZ", tmp_path / "._a.nii.gz", tmp_path / "notes.csv")

    assert names(find_scans(tmp_path)) == [("a", "nifti"), ("b", "nifti")]


def test_a_folder_of_cases_is_a_scan_each_and_nothing_in_a_case_is_another(tmp_path, write_series):
    touch(*(tmp_path / f"case_0000{k}" / name for k in (3, 1) for name in ("imaging.nii.gz", "segmentation.nii.gz")))
    touch(tmp_path / "case_00001" / "instances" / "kidney.nii.gz")
    write_series(tmp_path / "case_00001" / "raw", n=2)

    assert names(find_scans(tmp_path)) == [("case_00001", "nifti"), ("case_00003", "nifti")]
    assert names(find_scans(tmp_path / "case_00001")) == [("case_00001", "nifti")]


def test_a_folder_of_folders_gives_cases_and_series(tmp_path, write_series, caplog):
    write_series(tmp_path / "venous", n=2)
    touch(tmp_path / "patient 7" / "imaging.nii.gz", tmp_path / "labels" / "a.nii.gz", tmp_path / ".git" / "a.nii.gz")
    write_series(tmp_path / "out", n=2)

    assert names(find_scans(tmp_path, skip=tmp_path / "out")) == [("patient 7", "nifti"), ("venous", "dicom")]
    assert f"Left out {tmp_path / 'labels'}" in caplog.text
    assert ".git" not in caplog.text


def test_folders_without_a_scan_are_told_in_one_warning(tmp_path, caplog):
    touch(*(tmp_path / f"labels_{n}" / "a.nii.gz" for n in range(6)), tmp_path / "patient" / "imaging.nii.gz")

    assert names(find_scans(tmp_path)) == [("patient", "nifti")]
    (message,) = caplog.messages
    assert message.startswith(f"Left out {tmp_path / 'labels_0'}, ")
    assert f"{tmp_path / 'labels_3'} and 2 more folders: no NIfTI file there is named imaging.nii.gz" in message


def test_scans_of_all_kinds_beside_each_other_are_found(tmp_path, write_series):
    touch(tmp_path / "case_00001" / "imaging.nii.gz", tmp_path / "loose.nii.gz", tmp_path / "other" / "imaging.nii.gz")
    write_series(tmp_path / "venous", n=2)

    found = [("case_00001", "nifti"), ("loose", "nifti"), ("other", "nifti"), ("venous", "dicom")]
    assert names(find_scans(tmp_path)) == found


def test_an_archive_is_searched_to_its_series_which_are_named_by_the_way_there(tmp_path, write_series):
    for series in ("p1/s1/2", "p1/s1/3", "p2/s1/2", "p2/.cache/2", "p2/out/2", "p3"):
        write_series(tmp_path / "archive" / series, n=2)
    (tmp_path / "archive" / "p2" / "s1" / "again").symlink_to(tmp_path / "archive")

    scans = find_scans(tmp_path / "archive", skip=tmp_path / "archive" / "p2" / "out")

    assert [scan.name for scan in scans] == ["p1_s1_2", "p1_s1_3", "p2_s1_2", "p3"]
    assert scans[2].path == tmp_path / "archive" / "p2" / "s1" / "2"
    assert [scan.name for scan in find_scans(tmp_path / "archive" / "p1")] == ["s1_2", "s1_3"]


def test_series_of_one_name_in_archives_of_a_list_are_told_apart(tmp_path, write_series):
    for series in ("p1/s1/2", "p2/s1/2"):
        write_series(tmp_path / series, n=2)
    (tmp_path / "list.txt").write_text("p1\np2\n")

    assert [scan.name for scan in find_scans(tmp_path / "list.txt")] == ["p1_s1_2", "p2_s1_2"]


def test_an_output_folder_among_the_scans_is_itself_none(tmp_path, write_series):
    write_series(tmp_path / "ct", n=2)
    touch(tmp_path / "a.nii")
    expected = [("a", "nifti"), ("ct", "dicom")]
    for folder in (tmp_path, tmp_path / "earlier"):
        touch(*(folder / name for name in ("a.nii.gz", "ct.nii.gz")))
        for name in ("a", "ct"):
            (folder / f"{name}.prediction.json").write_text(json.dumps({"labels": f"{name}.nii.gz"}))
        write_series(tmp_path / "seg", n=1)
        shutil.move(tmp_path / "seg" / "IM0000.dcm", folder / "ct.seg.dcm")

    assert names(find_scans(tmp_path)) == expected
    assert names(find_scans(tmp_path, skip=tmp_path)) == expected


def test_a_list_gives_its_scans_in_its_order(tmp_path, write_series):
    write_series(tmp_path / "data" / "series", n=2)
    touch(tmp_path / "data" / "x [1]=y.nii.gz", tmp_path / "cases" / "case_00002" / "imaging.nii.gz")
    listed = tmp_path / "lists" / "todo.txt"
    listed.parent.mkdir()
    listed.write_text(
        f"# what is to be done\n\n../data/x [1]=y.nii.gz\n  {tmp_path / 'data' / 'series'}  \r\n../cases\n", newline=""
    )

    scans = find_scans(listed)

    assert names(scans) == [("x [1]=y", "nifti"), ("series", "dicom"), ("case_00002", "nifti")]
    assert all(scan.path.exists() for scan in scans)


def test_scans_of_one_name_are_told_apart_by_their_folders(tmp_path, write_series):
    for patient in ("p1", "p2"):
        write_series(tmp_path / patient / "ct", n=2)
        touch(tmp_path / patient / "mr" / "ct.nii.gz")
    touch(tmp_path / "other.nii.gz")
    lines = ["p1/ct", "p2/ct", "p1/mr/ct.nii.gz", "p2/mr/ct.nii.gz", "other.nii.gz"]
    (tmp_path / "list.txt").write_text("\n".join(lines))

    found = [scan.name for scan in find_scans(tmp_path / "list.txt")]

    assert found == ["p1_ct", "p2_ct", "p1_mr_ct", "p2_mr_ct", "other"]


def test_one_file_of_each_series_of_a_folder_can_be_listed(tmp_path, write_series):
    write_series(tmp_path / "ct", n=4, prefix="A")
    write_series(tmp_path / "ct", n=6, prefix="V")
    (tmp_path / "list.txt").write_text("ct/A0000.dcm\nct/V0000.dcm\n")

    scans = find_scans(tmp_path / "list.txt")

    assert [(scan.name, scan.read().array.shape[0]) for scan in scans] == [("A0000", 4), ("V0000", 6)]


@pytest.mark.parametrize("again", ["a.nii", "./a.nii", "../{folder}/a.nii", "."])
def test_a_scan_that_is_listed_twice_is_told(tmp_path, again):
    touch(tmp_path / "a.nii")
    (tmp_path / "list.txt").write_text(f"a.nii\n{again.format(folder=tmp_path.name)}\n")

    with pytest.raises(InputError, match=r"list\.txt names \S*/a\.nii more than once; name every scan once"):
        find_scans(tmp_path / "list.txt")


def test_scans_that_no_folder_tells_apart_are_refused(tmp_path):
    touch(tmp_path / "files" / "a.nii", tmp_path / "files" / "a.nii.gz")
    touch(*(tmp_path / "folders" / name / "imaging.nii.gz" for name in ("a/b_c", "a_b/c")))

    for name in ("files", "folders"):
        with pytest.raises(InputError, match=r"2 scans that would share a name \(.*/a\S*, .*; rename all but one"):
            find_scans(tmp_path / name)


def test_every_bad_line_of_a_list_is_told(tmp_path):
    touch(tmp_path / "a.nii.gz", tmp_path / "b.mha")
    (tmp_path / "list.txt").write_text("missing.nii.gz\na.nii.gz\n\nb.mha\n")

    with pytest.raises(
        InputError, match=r"(?s)Line 1: .*missing.* is not there.*Line 4: .*b\.mha is neither NIfTI nor"
    ):
        find_scans(tmp_path / "list.txt")


@pytest.mark.parametrize(
    ("content", "words"), [(b"# nothing\n\n", "lists no scan"), (b"\xff\xfe\x00", "cannot be read as UTF-8")]
)
def test_a_list_without_a_scan_is_refused(tmp_path, content, words):
    (tmp_path / "list.txt").write_bytes(content)

    with pytest.raises(InputError, match=words):
        find_scans(tmp_path / "list.txt")


def test_what_is_no_scan_is_refused(tmp_path):
    touch(tmp_path / "empty" / "notes.csv", tmp_path / "a.mha")

    for path, words in (("empty", "holds no scans"), ("missing", "not there"), ("a.mha", "neither NIfTI nor DICOM")):
        with pytest.raises(InputError, match=rf"{path} (is )?{words}"):
            find_scans(tmp_path / path)


def test_headers_tell_the_problems_of_all_scans_before_any_is_read(tmp_path, write_series, monkeypatch):
    write_nifti(tmp_path / "good" / "imaging.nii.gz")
    touch(tmp_path / "empty" / "imaging.nii.gz")
    write_series(tmp_path / "series")
    write_series(tmp_path / "gap")
    (tmp_path / "gap" / "IM0000.dcm").unlink()
    monkeypatch.setattr("kidney_lab.data.scans.read_volume", None)

    good, problems = check_scans(find_scans(tmp_path), progress=False)

    assert names(good) == [("good", "nifti"), ("series", "dicom")]
    assert [str(tmp_path / "empty") in problems[0], "1 missing" in problems[1]] == [True, True]


def test_a_scout_in_a_folder_of_its_own_is_a_problem_only_alone(tmp_path, write_series, caplog):
    def scout(k, dataset):
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    write_series(tmp_path / "1_scout", n=2, change=scout)
    _, alone = check_scans(find_scans(tmp_path), progress=False)
    write_series(tmp_path / "2_venous")
    good, problems = check_scans(find_scans(tmp_path), progress=False)

    assert "holds no axial CT series ('CT Body': it is a localizer)" in alone[0]
    assert (names(good), problems) == ([("2_venous", "dicom")], [])
    assert "Left out: " in caplog.text


def test_a_link_keeps_its_name(tmp_path, write_series):
    write_series(tmp_path / "archive" / "0001", n=2)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "patient_a").symlink_to(tmp_path / "archive" / "0001")

    assert names(find_scans(tmp_path / "in")) == [("patient_a", "dicom")]


def test_sheared_axes_are_refused_by_the_header_and_by_the_reader(tmp_path):
    affine = np.diag([0.8, 0.8, 3.0, 1.0])
    affine[1, 2] = 3.0 * np.tan(np.radians(12))  # a gantry tilted by 12 degrees
    image = nib.Nifti1Image(np.full((3, 4, 5), -7, np.int16), affine)
    nib.save(image, tmp_path / "a.nii.gz")
    (scan,) = find_scans(tmp_path)

    good, problems = check_scans([scan], progress=False)

    assert good == []
    assert problems[0].startswith(f"{tmp_path / 'a.nii.gz'} has axes that are 12.0 degrees off right angles")
    with pytest.raises(InputError, match=r"12\.0 degrees off right angles"):
        scan.read()


@pytest.mark.parametrize(("dtype", "low", "warned"), [(np.uint8, 0, True), (np.int16, 3, True), (np.int16, -1, False)])
def test_values_that_cannot_be_hounsfield_units_are_warned_of(tmp_path, dtype, low, warned, caplog):
    array = np.full((3, 4, 5), 255, dtype)
    array[1, 2, 3] = low
    write_volume(tmp_path / "a.nii.gz", Volume(array, Grid(array.shape, np.eye(4))))

    (scan,) = find_scans(tmp_path)

    np.testing.assert_array_equal(scan.read().array, array)
    told = [f"{tmp_path / 'a.nii.gz'} holds values from {low} to 255, but a CT in Hounsfield units" in caplog.text]
    assert told == [warned]
    assert len(caplog.messages) == warned


@pytest.mark.parametrize("orientation", ORIENTATIONS, ids="".join)
def test_a_mask_made_in_memory_order_lies_on_the_scan_whatever_its_orientation(tmp_path, orientation):
    spacings = [(3.0, 0.7, 0.9), (0.5, 0.5, 5.0), (1.0, 1.0, 1.0)]
    for number, spacing in enumerate(spacings):
        path = tmp_path / f"{number}.nii.gz"
        affine = np.diag([*spacing, 1.0])
        affine[:3, 3] = (-31.0, 17.5, 402.25)
        hu = np.random.default_rng(number).integers(-1000, 1000, (3, 4, 5)).astype(np.int16)
        write_volume(path, reorient(Volume(hu, Grid((3, 4, 5), affine)), orientation))
        (scan,) = find_scans(path)
        volume = scan.read()
        assert volume.grid.orientation == orientation

        turned = reorient(volume)
        mask = reorient(Volume((turned.array > 200).astype(np.uint8), turned.grid), volume.grid.orientation)

        write_volume(tmp_path / "mask.nii.gz", mask)
        written, image = nib.load(tmp_path / "mask.nii.gz"), nib.load(path)
        np.testing.assert_array_equal(np.asarray(written.dataobj), np.asarray(image.dataobj) > 200)
        np.testing.assert_allclose(written.affine, image.affine, atol=1e-6)


@pytest.mark.parametrize("orientation", ORIENTATIONS[::7], ids="".join)
def test_simpleitk_finds_the_mask_where_the_scan_is(tmp_path, orientation):
    affine = np.diag([0.7, 0.9, 3.0, 1.0])
    affine[:3, :3] = np.array([[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, 1]]) @ affine[:3, :3]  # oblique
    hu = np.random.default_rng(0).integers(-1000, 1000, (3, 4, 5)).astype(np.int16)
    write_volume(tmp_path / "ct.nii.gz", reorient(Volume(hu, Grid((3, 4, 5), affine)), orientation))
    volume = find_scans(tmp_path / "ct.nii.gz")[0].read()
    write_volume(tmp_path / "mask.nii.gz", Volume((volume.array > 0).astype(np.uint8), volume.grid))

    scan, mask = (SimpleITK.ReadImage(str(tmp_path / name)) for name in ("ct.nii.gz", "mask.nii.gz"))

    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(mask), SimpleITK.GetArrayFromImage(scan) > 0)
    for geometry in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(mask, geometry)(), getattr(scan, geometry)(), atol=1e-5)
