"""The phantom on disk: KiTS's layout, the same cases however they are made, and nothing half-written."""

import json

import nibabel as nib
import numpy as np
import pytest

from kidney_lab.data.phantom import phantom_case, write_phantom
from kidney_lab.errors import InputError

TINY = {"in_plane": (64, 64), "max_slices": 24}
TINIEST = {"in_plane": (32, 32), "max_slices": 16}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_phantom(tmp_path_factory.mktemp("phantom") / "data", n_cases=6, seed=0, workers=1, **TINY)


def contents(root):
    return {path.relative_to(root): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_layout_types_and_orientation_are_those_of_kits(root):
    assert sorted(path.name for path in root.glob("case_*")) == [f"case_{index:05d}" for index in range(6)]
    for case in root.glob("case_*"):
        assert sorted(path.name for path in case.iterdir()) == ["imaging.nii.gz", "segmentation.nii.gz"]
        image, label = nib.load(case / "imaging.nii.gz"), nib.load(case / "segmentation.nii.gz")
        assert image.get_data_dtype() == np.int16
        assert label.get_data_dtype() == np.uint8
        assert nib.aff2axcodes(image.affine) == ("I", "P", "L")
        np.testing.assert_array_equal(image.affine, label.affine)
        assert image.shape == label.shape
        assert image.shape[1:] == (64, 64)
        assert image.shape[0] <= 24
        assert image.dataobj.slope == 1


def test_every_case_has_kidneys_and_a_tumor_and_its_spacing_in_kits_json(root):
    entries = json.loads((root / "kits.json").read_text())
    assert [entry["case_id"] for entry in entries] == [f"case_{index:05d}" for index in range(6)]
    two_sided = 0
    for entry in entries:
        stored = nib.load(root / entry["case_id"] / "segmentation.nii.gz")
        label = np.asarray(stored.dataobj)
        assert {1, 2} <= set(np.unique(label)) <= {0, 1, 2, 3}
        two_sided += bool((label[..., :32] == 1).any() and (label[..., 32:] == 1).any())
        assert [*entry["voxel_spacing"].values()] == pytest.approx(stored.header.get_zooms()[::-1], rel=1e-5)
        assert entry["radiographic_size"] == pytest.approx(max(entry["tumor_diameters_mm"]) / 10, abs=0.06)
    assert two_sided >= 5


def test_tumor_volumes_on_disk_are_those_of_their_diameters(root):
    for entry in json.loads((root / "kits.json").read_text()):
        stored = nib.load(root / entry["case_id"] / "segmentation.nii.gz")
        voxel = float(np.prod(stored.header.get_zooms()))
        measured = (np.asarray(stored.dataobj) == 2).sum() * voxel
        designed = sum(np.pi / 6 * mm**3 for mm in entry["tumor_diameters_mm"])
        assert 0.5 * designed - 2 * voxel < measured < 1.3 * designed + 2 * voxel


def test_everything_says_that_it_is_synthesized(root):
    assert "SYNTHESIZED" in (root / "README.txt").read_text()
    assert all(entry["synthesized"] is True for entry in json.loads((root / "kits.json").read_text()))


def test_what_is_written_is_what_the_case_is(root):
    image, label, _ = phantom_case(3, seed=0, **TINY)
    np.testing.assert_array_equal(np.asarray(nib.load(root / "case_00003/imaging.nii.gz").dataobj), image)
    np.testing.assert_array_equal(np.asarray(nib.load(root / "case_00003/segmentation.nii.gz").dataobj), label)


def test_cases_do_not_depend_on_workers_or_on_how_many_there_are(root, tmp_path):
    pair = write_phantom(tmp_path / "pair", n_cases=2, seed=0, workers=2, **TINY)
    for index in (0, 1):
        for name in ("imaging.nii.gz", "segmentation.nii.gz"):
            ours, theirs = (
                np.asarray(nib.load(folder / f"case_{index:05d}" / name).dataobj) for folder in (pair, root)
            )
            np.testing.assert_array_equal(ours, theirs)


def test_another_seed_gives_other_cases_and_cases_differ():
    first, other = (phantom_case(0, seed=seed, **TINIEST) for seed in (0, 1))
    assert first[0].shape != other[0].shape or (first[0] != other[0]).any()
    second = phantom_case(1, seed=0, **TINIEST)
    assert first[1].shape != second[1].shape or (first[1] != second[1]).any()


def test_a_second_call_keeps_what_is_finished_and_adds_what_is_missing(tmp_path):
    root = write_phantom(tmp_path, n_cases=2, workers=1, **TINIEST)
    before = contents(root)
    times = {path: path.stat().st_mtime_ns for path in root.glob("case_*/*")}
    write_phantom(root, n_cases=2, workers=1, **TINIEST)
    assert contents(root) == before
    assert {path: path.stat().st_mtime_ns for path in root.glob("case_*/*")} == times
    (root / "case_00001" / "segmentation.nii.gz").unlink()
    write_phantom(root, n_cases=3, workers=1, **TINIEST)
    assert len(json.loads((root / "kits.json").read_text())) == 3
    assert len([*root.glob("case_*/segmentation.nii.gz")]) == 3
    assert times.items() >= {path: path.stat().st_mtime_ns for path in (root / "case_00000").iterdir()}.items()


def test_half_written_leftovers_are_ignored(tmp_path):
    leftover = tmp_path / ".case_00000-killed"
    leftover.mkdir()
    (leftover / "imaging.nii.gz").write_bytes(b"half")
    root = write_phantom(tmp_path, n_cases=1, workers=1, **TINIEST)
    assert nib.load(root / "case_00000/imaging.nii.gz").get_fdata().std() > 0
    assert [path.name for path in root.glob("case_*")] == ["case_00000"]


def test_a_failed_write_leaves_no_case_behind(tmp_path, monkeypatch):
    def fail(image, path):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(nib, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        write_phantom(tmp_path, n_cases=1, workers=1, **TINIEST)
    assert not [*tmp_path.rglob("*.nii.gz")]
    assert not (tmp_path / "kits.json").exists()


@pytest.mark.parametrize("change", [{"seed": 1}, {"in_plane": (40, 40)}, {"max_slices": 18}, {"n_cases": 1}])
def test_other_parameters_in_the_same_root_are_refused_naming_both(tmp_path, change):
    parameters = {"n_cases": 2, "seed": 0, **TINIEST}
    (tmp_path / "phantom.json").write_text(json.dumps({"recipe": 1, **parameters}))
    with pytest.raises(InputError, match=r"found .* asked for .* data\.root"):
        write_phantom(tmp_path, workers=1, **{**parameters, **change})


def test_a_folder_of_real_cases_is_refused(tmp_path):
    (tmp_path / "case_00000").mkdir()
    with pytest.raises(InputError, match="no phantom"):
        write_phantom(tmp_path, n_cases=1, workers=1, **TINIEST)


def test_parameters_out_of_range_are_all_named(tmp_path):
    with pytest.raises(InputError) as error:
        write_phantom(tmp_path / "new", n_cases=0, in_plane=(8, 64), max_slices=4, seed=-1, workers=1)
    for problem in ("n_cases is 0", "rows is 8", "max_slices is 4", "seed is -1"):
        assert problem in str(error.value)
    assert not (tmp_path / "new").exists()
