import gzip
import tracemalloc
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from kidney_lab.data import nifti
from kidney_lab.data.nifti import read_grid, read_volume, write_volume
from kidney_lab.errors import InputError
from kidney_lab.geometry import Grid, Volume, reorient

ORIENTATIONS = [
    tuple(pair[sign] for pair, sign in zip(axes, signs, strict=True))
    for axes in permutations(("LR", "PA", "IS"))
    for signs in product((0, 1), repeat=3)
]


def oblique_volume(dtype=np.int16) -> Volume:
    angle = np.deg2rad(20)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([0.8, 0.9, 2.5])
    affine[:3, 3] = [-100.5, 12.25, 333]
    rng = np.random.default_rng(0)
    return Volume(rng.integers(0, 200, (4, 5, 6)).astype(dtype), Grid((4, 5, 6), affine))


def write_raw(path: Path, array, affine=None, **header) -> Path:
    image = nib.Nifti1Image(array, np.eye(4) if affine is None else affine)
    for name, value in header.items():
        image.header[name] = value
    nib.save(image, path)
    return path


@pytest.mark.parametrize("orientation", ORIENTATIONS[::5])
def test_every_orientation_comes_back_as_it_was_written(tmp_path, orientation):
    volume = reorient(oblique_volume(), orientation)
    write_volume(tmp_path / "a.nii.gz", volume)

    again = read_volume(tmp_path / "a.nii.gz")

    np.testing.assert_array_equal(again.array, volume.array)
    assert again.array.dtype == np.int16
    assert again.grid.same_as(volume.grid, 1e-4)
    assert again.grid.orientation == orientation
    assert read_grid(tmp_path / "a.nii.gz").same_as(again.grid, 0.0)


@pytest.mark.parametrize("orientation", ORIENTATIONS[::5])
def test_a_volume_needs_no_copy_to_come_into_memory_order(tmp_path, orientation, monkeypatch):
    monkeypatch.setattr(nifti, "_SLAB_BYTES", 2 * 4 * 5 * 2)  # two layers: several slabs, the last of them smaller
    volume = oblique_volume()
    write_volume(tmp_path / "a.nii.gz", reorient(volume, orientation))

    turned = reorient(read_volume(tmp_path / "a.nii.gz"))

    assert turned.array.flags.c_contiguous
    np.testing.assert_array_equal(turned.array, reorient(volume).array)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.NII.GZ"])
def test_reading_needs_the_result_and_one_slab(tmp_path, name, monkeypatch):
    monkeypatch.setattr(nifti, "_SLAB_BYTES", 1 << 18)
    array = np.random.default_rng(0).normal(0, 300, (80, 90, 100))
    nib.save(nib.Nifti1Image(array, np.diag([-1.0, -1, 1, 1])), tmp_path / "a.nii")
    content = (tmp_path / "a.nii").read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(content, 1) if name.lower().endswith("gz") else content)
    read_grid(tmp_path / name)
    tracemalloc.start()
    try:
        volume = read_volume(tmp_path / name)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    np.testing.assert_array_equal(volume.array, array.astype(np.float32))
    assert peak < volume.array.nbytes + 3 * (1 << 18) + (1 << 20)


def test_there_are_48_orientations():
    assert len(set(ORIENTATIONS)) == 48


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32, bool])
def test_the_data_type_is_kept(tmp_path, dtype):
    write_volume(tmp_path / "a.nii.gz", oblique_volume(dtype))

    expected = np.uint8 if dtype is bool else dtype
    assert read_volume(tmp_path / "a.nii.gz").array.dtype == expected
    assert nib.load(tmp_path / "a.nii.gz").get_data_dtype() == expected


def test_other_tools_find_qform_and_sform_that_agree(tmp_path):
    volume = oblique_volume()
    write_volume(tmp_path / "a.nii.gz", volume)

    image = nib.load(tmp_path / "a.nii.gz")

    assert (int(image.header["qform_code"]), int(image.header["sform_code"])) == (1, 1)
    np.testing.assert_allclose(image.get_qform(), volume.grid.affine, atol=1e-4)
    np.testing.assert_allclose(image.get_sform(), volume.grid.affine, atol=1e-4)
    assert image.header.get_xyzt_units()[0] == "mm"


def test_scaling_of_the_file_is_applied_as_nibabel_does(tmp_path):
    stored = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    image = nib.Nifti1Image(stored, np.eye(4))
    image.header.set_slope_inter(2.5, -1024)
    nib.save(image, tmp_path / "a.nii")

    volume = read_volume(tmp_path / "a.nii")

    assert volume.array.dtype == np.float32
    np.testing.assert_allclose(volume.array, nib.load(tmp_path / "a.nii").get_fdata())


def test_other_byte_orders_are_read(tmp_path):
    stored = np.arange(-12, 12, dtype=">i2").reshape(2, 3, 4)
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    nib.save(nib.Nifti1Image(stored, np.eye(4), header), tmp_path / "a.nii.gz")
    assert nib.load(tmp_path / "a.nii.gz").dataobj.dtype == stored.dtype, "or nothing is tested"

    volume = read_volume(tmp_path / "a.nii.gz")

    np.testing.assert_array_equal(volume.array, stored)
    assert volume.array.dtype == np.int16


def test_float64_files_are_read_as_float32(tmp_path):
    path = write_raw(tmp_path / "a.nii.gz", np.full((3, 3, 3), -17.0))

    assert read_volume(path).array.dtype == np.float32
    assert read_volume(path, dtype=np.int16).array.max() == -17


def test_a_fourth_axis_of_length_one_is_dropped(tmp_path):
    path = write_raw(tmp_path / "a.nii.gz", np.ones((3, 4, 5, 1), np.uint8))

    assert read_volume(path).array.shape == read_grid(path).shape == (3, 4, 5)


@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5, 2)])
def test_volumes_that_are_not_3d_are_refused_with_their_shape(tmp_path, shape):
    path = write_raw(tmp_path / "a.nii.gz", np.ones(shape, np.uint8))

    with pytest.raises(InputError, match=rf"a\.nii\.gz has shape \({shape[0]}, "):
        read_grid(path)


def test_axes_of_length_one_beyond_the_third_are_dropped(tmp_path):
    path = write_raw(tmp_path / "a.nii.gz", np.ones((3, 4, 5, 1, 1), np.uint8))

    assert read_volume(path).array.shape == read_grid(path).shape == (3, 4, 5)


@pytest.mark.parametrize(("unit", "name"), [("meter", "metres"), ("micron", "micrometres")])
def test_spacing_in_other_units_than_mm_is_refused(tmp_path, unit, name):
    image = nib.Nifti1Image(np.ones((3, 4, 5), np.uint8), np.diag([0.5, 0.5, 2, 1]))
    image.header.set_xyzt_units(unit, "sec")
    nib.save(image, tmp_path / "a.nii.gz")

    with pytest.raises(InputError, match=rf"a\.nii\.gz gives its spacing \[0\.5, 0\.5, 2\.0\] in {name}, but mm"):
        read_grid(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("dtype", [[("R", "u1"), ("G", "u1"), ("B", "u1")], np.complex64])
def test_voxels_that_are_no_real_numbers_are_refused(tmp_path, dtype):
    path = write_raw(tmp_path / "a.nii.gz", np.zeros((3, 4, 5), dtype))

    with pytest.raises(InputError, match=r"a\.nii\.gz holds .* voxels, but a volume holds one real number"):
        read_grid(path)


def test_sform_and_qform_that_disagree_are_warned_of(tmp_path, caplog):
    image = nib.Nifti1Image(np.ones((3, 4, 5), np.uint8), np.diag([1.0, 1, 2, 1]))
    image.set_qform(np.diag([1.0, 1, 3, 1]), code=1)
    nib.save(image, tmp_path / "a.nii.gz")

    volume = read_volume(tmp_path / "a.nii.gz")

    assert volume.grid.spacing == (1, 1, 2)
    assert caplog.messages == [
        f"{tmp_path / 'a.nii.gz'}: sform (RAS, spacing 1 x 1 x 2 mm, origin 0.0, 0.0, 0.0) and qform (RAS, spacing "
        "1 x 1 x 3 mm, origin 0.0, 0.0, 0.0) put voxels up to 4.0 mm apart; the sform is used, as nibabel does."
    ]


def test_what_is_written_for_a_scan_whose_forms_disagree_has_the_sform_as_both(tmp_path):
    image = nib.Nifti1Image(np.ones((3, 4, 5), np.uint8), oblique_volume().grid.affine)
    image.set_qform(np.diag([-1.0, 1, 3, 1]), code=2)
    nib.save(image, tmp_path / "a.nii.gz")

    write_volume(tmp_path / "b.nii.gz", read_volume(tmp_path / "a.nii.gz"))

    written = nib.load(tmp_path / "b.nii.gz")
    np.testing.assert_allclose(written.get_sform(coded=True)[0], image.get_sform(), atol=1e-4)
    np.testing.assert_allclose(written.get_qform(coded=True)[0], image.get_sform(), atol=1e-4)


@pytest.mark.parametrize("spacing", [0.0, np.nan])
def test_unusable_spacing_is_refused(tmp_path, spacing):
    path = write_raw(tmp_path / "a.nii", np.ones((2, 2, 2), np.uint8))
    content = bytearray(path.read_bytes())
    content[84:88] = np.float32(spacing).tobytes()  # pixdim[2]
    path.write_bytes(content)

    with pytest.raises(InputError, match=r"a\.nii has spacing"):
        read_volume(path)


@pytest.mark.parametrize("value", [0.0, np.inf])
def test_unusable_affine_is_refused(tmp_path, value):
    path = write_raw(tmp_path / "a.nii", np.ones((2, 2, 2), np.uint8))
    content = bytearray(path.read_bytes())
    content[280:284] = np.float32(value).tobytes()  # srow_x[0]
    path.write_bytes(content)

    with pytest.raises(InputError, match="affine"):
        read_volume(path)


@pytest.mark.parametrize("kept", [0.5, 0.999])
def test_truncated_gzip_is_refused(tmp_path, kept):
    noise = np.random.default_rng(0).integers(0, 255, (20, 20, 20)).astype(np.uint8)
    path = write_raw(tmp_path / "a.nii.gz", noise)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])

    with pytest.raises(InputError, match=r"a\.nii\.gz is truncated"):
        read_volume(path)


@pytest.mark.parametrize("extension", [b"", b"what follows the voxels" * 1000])
def test_a_gzip_with_a_wrong_checksum_is_refused(tmp_path, extension):
    path = write_raw(tmp_path / "a.nii", np.zeros((20, 20, 20), np.uint8))
    content = bytearray(gzip.compress(path.read_bytes() + extension))
    content[-8] ^= 0xFF
    (tmp_path / "a.nii.gz").write_bytes(content)

    with pytest.raises(InputError, match=r"a\.nii\.gz cannot be read \(CRC"):
        read_volume(tmp_path / "a.nii.gz")


def test_a_damaged_gzip_is_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (50, 50, 50)).astype(np.uint8)
    path = write_raw(tmp_path / "a.nii", noise)
    content = bytearray(gzip.compress(path.read_bytes()))
    content[60_000:60_400] = b"\xff" * 400  # no valid Huffman codes
    (tmp_path / "a.nii.gz").write_bytes(content)

    with pytest.raises(InputError, match=r"a\.nii\.gz (is truncated or damaged|cannot be read) \("):
        read_volume(tmp_path / "a.nii.gz")


def test_a_gzip_may_have_several_members_and_padding(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (20, 20, 20)).astype(np.uint8)
    content = write_raw(tmp_path / "a.nii", noise).read_bytes()
    members = [gzip.compress(part) for part in (content[:1000], content[1000:5000], content[5000:])]
    (tmp_path / "a.nii.gz").write_bytes(b"".join(members) + bytes(64))

    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz").array, noise)


@pytest.mark.parametrize("tail", [b"g", b"garbage, and more of it"])
def test_garbage_behind_a_gzip_is_refused(tmp_path, tail):
    path = write_raw(tmp_path / "a.nii.gz", np.zeros((20, 20, 20), np.uint8))
    path.write_bytes(path.read_bytes() + tail)

    with pytest.raises(InputError, match=r"a\.nii\.gz"):
        read_volume(path)


def test_what_is_no_nifti_is_refused(tmp_path):
    (tmp_path / "a.nii").write_bytes(b"no volume" * 100)
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(b"short"))
    nib.save(nib.MGHImage(np.ones((2, 2, 2), np.uint8), np.eye(4)), tmp_path / "c.mgz")

    for name in ("a.nii", "b.nii.gz", "c.mgz", "missing.nii.gz"):
        with pytest.raises(InputError, match=name):
            read_volume(tmp_path / name)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.nii.gz"
    write_volume(path, oblique_volume())
    before = path.read_bytes()

    def save_half(image, partial):
        Path(partial).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(nib, "save", save_half)
    with pytest.raises(OSError, match="disk full"):
        write_volume(path, oblique_volume(np.uint8))

    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.nii.gz"]


def test_a_real_ct_reads_as_nibabel_reads_it(shared_data):
    path = shared_data / "ct" / "abdomen_3mm.nii.gz"

    volume = read_volume(path)

    np.testing.assert_array_equal(volume.array, np.asarray(nib.load(path).dataobj))
    assert volume.grid.orientation == ("R", "A", "S")
