import gzip
import json

import nibabel as nib
import numpy as np
import pytest

from kidney_lab.data import check
from kidney_lab.data.check import check_cases
from kidney_lab.data.kits import Case, find_cases
from kidney_lab.data.nifti import write_volume
from kidney_lab.errors import InputError
from kidney_lab.geometry import Grid, Volume, grid_from_spacing, reorient

SHAPE = (4, 6, 6)
GRID = grid_from_spacing(SHAPE, (3.0, 0.8, 0.8))


def write(path, array, grid=GRID):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(path, Volume(array, grid))


def set_spacing_to_zero(path):
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[80:84] = bytes(4)  # pixdim[1]
    path.write_bytes(gzip.compress(content))


@pytest.fixture
def root(tmp_path):
    """Three sound cases."""
    for n in range(3):
        label = np.zeros(SHAPE, np.uint8)
        label[1, 2, 3] = n
        write(tmp_path / f"case_{n:05d}" / "imaging.nii.gz", np.full(SHAPE, 40, np.int16))
        write(tmp_path / f"case_{n:05d}" / "segmentation.nii.gz", label)
    return tmp_path


def problems_of(root, **options):
    with pytest.raises(InputError) as caught:
        check_cases(find_cases(root), **{"labels": (1, 2), "progress": False, **options})
    return str(caught.value).splitlines()


def test_sound_cases_pass(root):
    check_cases(find_cases(root), labels=(1, 2), workers=1, progress=False)


def test_an_image_in_another_orientation_than_its_label_passes(root):
    image = Volume(np.full(SHAPE, 40, np.int16), GRID)
    write_volume(root / "case_00000" / "imaging.nii.gz", reorient(image, ("R", "A", "S")))

    check_cases(find_cases(root), labels=(1, 2), progress=False)


def test_every_problem_of_every_case_is_told_at_once(root):
    (root / "case_00000" / "imaging.nii.gz").unlink()
    (root / "case_00001" / "segmentation.nii.gz").unlink()
    stray = np.zeros(SHAPE, np.uint8)
    stray[0, 0, :2] = 3, 7
    write(root / "case_00002" / "segmentation.nii.gz", stray)

    sound = np.zeros(SHAPE, np.int16)
    noise = np.random.default_rng(0).integers(-1024, 3000, (20, 20, 20)).astype(np.int16)
    images = {
        3: lambda path: write(path, np.zeros((4, 6, 7), np.int16), grid_from_spacing((4, 6, 7), GRID.spacing)),
        4: lambda path: write(path, sound, grid_from_spacing(SHAPE, (3.01, 0.8, 0.8))),
        5: lambda path: (write(path, noise), path.write_bytes(path.read_bytes()[:-20])),
        6: lambda path: write(path, np.full(SHAPE, np.nan, np.float32)),
        7: lambda path: nib.save(nib.Nifti1Image(np.zeros((*SHAPE, 2), np.int16), GRID.affine), path),
        8: lambda path: nib.save(nib.Nifti1Image(np.zeros((6, 6), np.int16), np.eye(4)), path),
        9: lambda path: (write(path, sound), set_spacing_to_zero(path)),
    }
    for n, damage in images.items():
        write(root / f"case_{n:05d}" / "segmentation.nii.gz", np.zeros(SHAPE, np.uint8))
        damage(root / f"case_{n:05d}" / "imaging.nii.gz")

    head, *problems = problems_of(root)

    expected = {
        0: "imaging.nii.gz is missing",
        1: "the segmentation is missing",
        2: "holds the label values 3, 7, but this dataset has [0, 1, 2] alone",
        3: "has shape (4, 6, 7), but",
        4: "0.03 mm apart: affine [[",
        5: "is truncated",
        6: "holds voxels that are NaN or infinite",
        7: "has shape (4, 6, 6, 2)",
        8: "has shape (6, 6)",
        9: "has spacing",
    }
    assert head.startswith("10 problems in 10 cases")
    assert len(problems) == len(expected)
    for (n, text), problem in zip(expected.items(), problems, strict=True):
        assert text in problem
        assert str(root / f"case_{n:05d}") in problem


def test_workers_find_the_same_problems(root):
    write(root / "case_00001" / "segmentation.nii.gz", np.full(SHAPE, 9, np.uint8))

    assert problems_of(root, workers=2) == problems_of(root, workers=1)


def test_a_case_without_reference_passes_where_none_is_required(root):
    (root / "case_00001" / "segmentation.nii.gz").unlink()

    check_cases(find_cases(root), labels=(1, 2), require_labels=False, progress=False)


def test_a_case_that_is_synthesized_needs_its_label_alone(root):
    (root / "case_00001" / "imaging.nii.gz").unlink()

    check_cases(find_cases(root, synthesize_missing_images=True), labels=(1, 2), progress=False)


def test_an_image_given_as_label_is_told_by_its_first_values(root):
    ramp = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    write(root / "case_00001" / "segmentation.nii.gz", ramp)

    assert "holds the label values 6, 12, " in problems_of(root)[1]


def test_files_that_did_not_change_are_decoded_once(root, monkeypatch):
    cache = root / "cache" / "checked.json"
    decoded = []
    read_volume = check.read_volume
    monkeypatch.setattr(check, "read_volume", lambda path: decoded.append(path) or read_volume(path))

    check_cases(find_cases(root), labels=(1, 2), progress=False, cache=cache)
    assert len(decoded) == 6
    check_cases(find_cases(root), labels=(1, 2), progress=False, cache=cache)
    assert len(decoded) == 6

    changed = root / "case_00002" / "segmentation.nii.gz"
    write(changed, np.full(SHAPE, 5, np.uint8))
    assert "label values 5" in problems_of(root, cache=cache)[1]
    assert decoded[6:] == [changed]
    assert "label values 5" in problems_of(root, cache=cache)[1], "a problem is remembered as well"
    assert len(decoded) == 7


def test_what_another_process_found_meanwhile_is_remembered_as_well(root, monkeypatch):
    cache = root / "checked.json"
    first, *others = find_cases(root)
    over_cases = check.over_cases

    def interrupted(function, cases, **options):
        monkeypatch.setattr(check, "over_cases", over_cases)
        check_cases(others, labels=(1, 2), progress=False, cache=cache)
        return over_cases(function, cases, **options)

    monkeypatch.setattr(check, "over_cases", interrupted)
    check_cases([first], labels=(1, 2), progress=False, cache=cache)

    assert len(json.loads(cache.read_text())) == 6


@pytest.mark.parametrize("content", ["{", "[]", json.dumps({"a": {"size": 1}})])
def test_a_cache_that_cannot_be_read_is_made_anew(root, content):
    cache = root / "checked.json"
    cache.write_text(content)

    check_cases(find_cases(root), labels=(1, 2), progress=False, cache=cache)

    assert len(json.loads(cache.read_text())) == 6


def test_a_case_without_any_file_is_named_by_its_id():
    with pytest.raises(InputError, match="case_00042: imaging"):
        check_cases([Case("case_00042", None, None)], labels=(1,), progress=False)


def test_masks_of_single_annotators_are_checked_as_well(root):
    good = np.zeros(SHAPE, np.uint8)
    good[1] = 1
    folder = root / "case_00001" / "instances"
    write(folder / "kidney_instance-1_annotation-1.nii.gz", good)
    write(folder / "kidney_instance-1_annotation-2.nii.gz", 2 * good)
    moved = grid_from_spacing(SHAPE, (3.0, 0.8, 0.9))
    write(folder / "tumor_instance-1_annotation-1.nii.gz", good, moved)

    with pytest.raises(InputError) as caught:
        check_cases(find_cases(root, annotation="sampled"), labels=(1, 2), progress=False)

    head, *problems = str(caught.value).splitlines()
    assert head.startswith("2 problems in 3 cases")
    assert "annotation-2.nii.gz holds the label values 2" in problems[0]
    assert "tumor_instance-1_annotation-1.nii.gz lie up to 0.5 mm apart" in problems[1]
    check_cases(find_cases(root), labels=(1, 2), progress=False)  # those who do not learn from them do not need them


def test_a_sheared_affine_is_named_but_passes(root, caplog):
    affine = GRID.affine.copy()
    affine[1, 0] = 3.0 * np.tan(np.radians(15))  # a gantry tilted by 15 degrees
    for name in ("imaging.nii.gz", "segmentation.nii.gz"):
        write(root / "case_00001" / name, np.zeros(SHAPE, np.uint8), Grid(SHAPE, affine))

    check_cases(find_cases(root), labels=(1, 2), progress=False)

    assert "1 case with sheared affines" in caplog.text
    assert "case_00001 (15.0 degrees)" in caplog.text


def test_real_instances_pass(shared_data):
    cases = [c for c in find_cases(shared_data / "kits23", annotation="sampled", synthesize_missing_images=True)]

    check_cases(cases[:2], labels=(1, 2, 3), progress=False)
