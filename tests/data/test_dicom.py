import tracemalloc
from pathlib import Path

import gdcm
import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from kidney_lab.data.dicom import read_series
from kidney_lab.data.dicom_series import find_series
from kidney_lab.errors import InputError
from kidney_lab.geometry import Grid, Volume, reorient

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def in_order(folder) -> list[str]:
    """Files of a folder's series, in order of place, as SimpleITK finds it."""
    return list(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))


def read_by_itk(files) -> Volume:
    """Slices as SimpleITK reads them, `(slices, rows, columns)`."""
    image = SimpleITK.ReadImage(files)
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) @ np.diag(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    array = SimpleITK.GetArrayFromImage(image)
    return Volume(array, Grid(array.shape, (LPS_TO_RAS @ affine)[:, [2, 1, 0, 3]]))


def assert_same_place(volume, expected):
    found, expected = reorient(volume), reorient(expected)
    np.testing.assert_array_equal(found.array, expected.array)
    assert found.grid.distance_to(expected.grid) < 1e-3


def recode(folder, syntax):
    """Compresses every file of a folder by GDCM."""
    for path in folder.iterdir():
        reader = gdcm.ImageReader()
        reader.SetFileName(str(path))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(path))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()


def test_a_series_is_read_in_order_of_place_with_its_grid(tmp_path, write_series):
    stored = write_series(tmp_path)

    volume = read_series(tmp_path)

    assert volume.array.dtype == np.int16
    np.testing.assert_array_equal(volume.array, stored.astype(int) - 1024)
    assert volume.grid.orientation == ("I", "P", "L")
    # Slices go 3 mm down, rows 0.7 mm to the back, columns 0.9 mm to the left; DICOM's x and y point the other way.
    expected = [[0, 0, -0.9, 20], [0, -0.7, 0, 30], [-3, 0, 0, 400], [0, 0, 0, 1]]
    np.testing.assert_allclose(volume.grid.affine, expected, atol=1e-9)


@pytest.mark.parametrize(
    ("orientation", "step"),
    [
        ((1, 0, 0, 0, 1, 0), (0, 0, 2.5)),  # names run from feet to head
        ((-1, 0, 0, 0, -1, 0), (0, 0, -2.5)),  # prone
        ((-1, 0, 0, 0, 1, 0), (0, 0, -2.5)),  # columns mirrored: the normal points to the feet
        ((1, 0, 0, 0, np.cos(0.3), np.sin(0.3)), (0, 2.5 * np.sin(0.3), -2.5 * np.cos(0.3))),  # oblique, not sheared
    ],
    ids=["upwards", "prone", "mirrored", "oblique"],
)
def test_every_axial_series_lies_where_simpleitk_puts_it(tmp_path, write_series, orientation, step):
    write_series(tmp_path, orientation=orientation, step=step)

    assert_same_place(read_series(tmp_path), read_by_itk(in_order(tmp_path)))


def test_the_real_series_is_that_of_simpleitk(shared_data):
    files = in_order(shared_data / "ct" / "dicom")  # JPEG 2000
    some = files[4:10]  # decoding all of them takes seconds

    volume = read_series([Path(file) for file in reversed(some)])

    assert volume.array.dtype == np.int16
    assert volume.grid.spacing == pytest.approx((2.0, 0.9765625, 0.9765625))
    assert_same_place(volume, read_by_itk(some))
    grid = find_series(shared_data / "ct" / "dicom").grid
    assert grid.shape == (len(files), 512, 512)
    np.testing.assert_allclose(grid.affine[:3, 3], volume.grid.affine[:3] @ [-(len(files) - 10), 0, 0, 1])


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless]
)
def test_what_pydicom_decodes_is_read(tmp_path, write_series, syntax):
    stored = write_series(tmp_path)
    for path in tmp_path.iterdir():
        dataset = pydicom.dcmread(path)
        if syntax == RLELossless:
            dataset.compress(RLELossless)
        elif syntax == ExplicitVRBigEndian:
            dataset.PixelData = dataset.pixel_array.astype(">u2").tobytes()
        dataset.file_meta.TransferSyntaxUID = syntax
        implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
        pydicom.dcmwrite(path, dataset, implicit_vr=implicit, little_endian=little)

    np.testing.assert_array_equal(read_series(tmp_path).array, stored.astype(int) - 1024)


@pytest.mark.parametrize(
    "syntax",
    [
        gdcm.TransferSyntax.JPEGLosslessProcess14,
        gdcm.TransferSyntax.JPEGLosslessProcess14_1,
        gdcm.TransferSyntax.JPEGLSLossless,
        gdcm.TransferSyntax.JPEG2000Lossless,
        gdcm.TransferSyntax.RLELossless,
    ],
)
@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_what_gdcm_decodes_is_read(tmp_path, write_series, syntax, dtype):
    values = np.random.default_rng(1).integers(-1024 if dtype == np.int16 else 0, 3000, (4, 16, 16)).astype(dtype)
    stored = write_series(tmp_path, n=4, stored=values, intercept=0.0)
    recode(tmp_path, syntax)
    assert pydicom.dcmread(next(tmp_path.iterdir())).file_meta.TransferSyntaxUID.is_compressed, "or nothing is tested"

    np.testing.assert_array_equal(read_series(tmp_path).array, stored)


def test_every_slice_is_rescaled_by_its_own_header(tmp_path, write_series):
    def change(k, dataset):
        dataset.RescaleSlope, dataset.RescaleIntercept = k + 1, -100 * k

    stored = write_series(tmp_path, change=change)

    expected = np.stack([stored[k].astype(int) * (k + 1) - 100 * k for k in range(8)])
    np.testing.assert_array_equal(read_series(tmp_path).array, expected)


def test_fractions_become_float32(tmp_path, write_series):
    stored = write_series(tmp_path, slope=0.5, intercept=-1000.25)

    volume = read_series(tmp_path)

    assert volume.array.dtype == np.float32
    np.testing.assert_allclose(volume.array, stored * 0.5 - 1000.25, atol=1e-3)


def test_values_beyond_int16_become_float32_and_none_is_lost(tmp_path, write_series):
    stored = np.random.default_rng(0).integers(0, 3000, (8, 6, 5)).astype(np.uint16)
    stored[5, 2, 3] = 60_000
    write_series(tmp_path, stored=stored)

    volume = read_series(tmp_path)

    assert volume.array.dtype == np.float32
    np.testing.assert_array_equal(volume.array, stored.astype(int) - 1024)


def test_bits_above_those_stored_are_no_values(tmp_path, write_series):
    def change(k, dataset):
        dataset.BitsStored, dataset.HighBit = 12, 11
        overlay = np.frombuffer(dataset.PixelData, np.uint16) | 0xF000
        dataset.PixelData = overlay.tobytes()

    stored = write_series(tmp_path, change=change)

    np.testing.assert_array_equal(read_series(tmp_path).array, stored.astype(int) - 1024)


def test_an_enhanced_ct_is_read_as_its_slices(tmp_path, write_enhanced):
    stored = np.random.default_rng(0).integers(0, 3000, (8, 6, 5)).astype(np.uint16)
    order = [3, 0, 7, 1, 6, 2, 5, 4]
    write_enhanced(tmp_path / "enhanced.dcm", stored[order], [400.0 - 3.0 * k for k in order])

    for source in (tmp_path, tmp_path / "enhanced.dcm", [tmp_path / "enhanced.dcm"]):
        volume = read_series(source)
        np.testing.assert_array_equal(volume.array, stored.astype(int) - 1024)
        assert volume.grid.spacing == pytest.approx((3.0, 0.7, 0.9))
        np.testing.assert_allclose(volume.grid.affine[:3, 3], [20, 30, 400])


def test_reading_needs_the_result_and_a_few_slices(tmp_path, write_series):
    stored = np.random.default_rng(0).integers(0, 3000, (40, 128, 128)).astype(np.uint16)
    write_series(tmp_path, n=40, stored=stored)
    read_series(tmp_path)
    tracemalloc.start()
    try:
        volume = read_series(tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < volume.array.nbytes + 20 * stored[0].nbytes + (1 << 20)


def test_a_slice_that_cannot_be_decoded_is_named(tmp_path, write_series):
    write_series(tmp_path, n=4, stored=np.random.default_rng(0).integers(0, 3000, (4, 16, 16)).astype(np.uint16))
    recode(tmp_path, gdcm.TransferSyntax.JPEG2000Lossless)
    path = tmp_path / "IM0001.dcm"
    path.write_bytes(path.read_bytes()[:-300])

    with pytest.raises(InputError, match=r"IM0001\.dcm .* copy or export it again\."):
        read_series(tmp_path)


def test_what_lies_beside_the_series_is_noted(tmp_path, write_series, caplog):
    write_series(tmp_path)
    write_series(tmp_path, prefix="MR", description="T1", change=lambda k, dataset: setattr(dataset, "Modality", "MR"))

    assert read_series(tmp_path).array.shape == (8, 6, 5)
    assert "Left out the series 'T1'" in caplog.text
    assert "its modality is MR, not CT" in caplog.text
