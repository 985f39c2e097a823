import gzip

import nibabel as nib
import numpy as np
import pytest

from kidney_lab.data.download.verify import problem_of


def nifti(kind=nib.Nifti1Image, dtype=np.int16):
    return kind(np.random.default_rng(0).integers(0, 99, (20, 30, 40)).astype(dtype), np.eye(4)).to_bytes()


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
def test_a_whole_nifti_file_has_no_problem(tmp_path, kind, dtype):
    path = tmp_path / "x.part"
    path.write_bytes(gzip.compress(nifti(kind, dtype)))

    assert problem_of(path, "imaging.nii.gz") is None


def test_every_real_mask_has_no_problem(shared_data):
    masks = sorted(shared_data.glob("kits23/case_*/segmentation.nii.gz"))[:3]

    assert masks
    assert [problem_of(path, path.name) for path in masks] == [None] * len(masks)


WHOLE = gzip.compress(nifti())
BROKEN = {
    "nothing": (b"", "holds no NIfTI header"),
    "a truncated file": (WHOLE[:-100], "truncated or damaged"),
    "a file without its checksum": (WHOLE[:-8], "truncated or damaged"),
    "a damaged file": (WHOLE[:5000] + bytes(64) + WHOLE[5064:], "gzip"),
    "a file with another checksum": (WHOLE[:-8] + b"\1\2\3\4" + WHOLE[-4:], "CRC"),
    "an error page": (b"<!DOCTYPE html><html>", "begins with '<!DOCTYPE html><html>'"),
    "a pointer of Git LFS": (b"version https://git-lfs.github.com/spec/v1", "begins with 'version https://git-lfs"),
    "something else in gzip": (gzip.compress(b"x" * 1000), "holds no NIfTI header"),
    "a header without voxels": (gzip.compress(nifti()[:352]), "its voxels end after 352 of 48352 bytes"),
    "a header of no known type": (gzip.compress(nifti()[:70] + b"\xff\x7f" + nifti()[72:]), "header cannot be read"),
}


@pytest.mark.parametrize(("content", "sentence"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_nifti_file_is_named(tmp_path, content, sentence):
    path = tmp_path / "x.part"
    path.write_bytes(content)

    assert sentence in problem_of(path, "imaging.nii.gz")


def test_json_must_parse(tmp_path):
    path = tmp_path / "x.part"
    path.write_text('[{"case_id": 1}]')
    assert problem_of(path, "kits.json") is None

    path.write_text('[{"case_id": 1}')
    assert "it is no JSON" in problem_of(path, "kits.json")


def test_what_cannot_be_read_is_named(tmp_path):
    assert problem_of(tmp_path, "imaging.nii.gz") == "it cannot be read (Is a directory)"
