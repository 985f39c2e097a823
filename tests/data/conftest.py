"""Small CT series as a scanner writes them."""

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def ct_file(path, *, series, sop_class=CTImageStorage, syntax=ExplicitVRLittleEndian, **tags) -> FileDataset:
    """A CT object without voxels; tags that are None are left out."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = syntax
    dataset = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, meta.MediaStorageSOPInstanceUID
    dataset.SeriesInstanceUID, dataset.Modality = series, "CT"
    for name, value in tags.items():
        if value is not None:
            setattr(dataset, name, value)
    return dataset


def with_voxels(dataset, stored) -> FileDataset:
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    dataset.PixelData = stored.tobytes()
    return dataset


@pytest.fixture
def write_series():
    """Writes slices, by default 8 of 6 x 5 voxels from head to feet, in an order of names that is not that of places.

    `change(k, dataset)` may alter slice k, counted from the head, before it is written.
    """

    def write(
        folder, *, n=8, step=(0.0, 0.0, -3.0), orientation=AXIAL, pixel_spacing=(0.7, 0.9),
        origin=(-20.0, -30.0, 400.0), series=None, description="CT Body",
        intercept=-1024.0, slope=1.0, stored=None, change=None, prefix="IM",
    ):  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        series = series or generate_uid()
        if stored is None:
            stored = np.random.default_rng(0).integers(0, 3000, (n, 6, 5)).astype(np.uint16)
        for k in range(n):
            path = folder / f"{prefix}{(5 * k + 3) % n:04d}.dcm"
            position = [round(float(a + k * b), 6) for a, b in zip(origin, step, strict=True)]
            dataset = ct_file(
                path, series=series, SeriesDescription=description, InstanceNumber=(3 * k) % n + 1,
                ImageType=["ORIGINAL", "PRIMARY", "AXIAL"], ImagePositionPatient=position, RescaleSlope=slope,
                ImageOrientationPatient=list(orientation), PixelSpacing=list(pixel_spacing), RescaleIntercept=intercept,
            )  # fmt: skip
            with_voxels(dataset, stored[k])
            if change is not None:
                change(k, dataset)
            dataset.save_as(path, enforce_file_format=True)
        return stored

    return write


@pytest.fixture
def write_enhanced():
    """Writes an enhanced CT: one file, a frame per slice, in the order of `places` along z."""

    def write(path, stored, places, *, frame_type="VOLUME", origin=(-20.0, -30.0), pixel_spacing=(0.7, 0.9)):
        dataset = ct_file(
            path, series=generate_uid(), sop_class=EnhancedCTImageStorage, SeriesDescription="Enhanced",
            ImageType=["ORIGINAL", "PRIMARY", frame_type, "NONE"], NumberOfFrames=len(stored),
        )  # fmt: skip
        shared = Dataset()
        shared.PlaneOrientationSequence = Sequence([_item(ImageOrientationPatient=list(AXIAL))])
        shared.PixelMeasuresSequence = Sequence([_item(PixelSpacing=list(pixel_spacing))])
        rescale = _item(RescaleSlope=1.0, RescaleIntercept=-1024.0, RescaleType="HU")
        shared.PixelValueTransformationSequence = Sequence([rescale])
        dataset.SharedFunctionalGroupsSequence = Sequence([shared])
        frames = [_item(PlanePositionSequence=Sequence([_item(ImagePositionPatient=[*origin, z])])) for z in places]
        dataset.PerFrameFunctionalGroupsSequence = Sequence(frames)
        path.parent.mkdir(parents=True, exist_ok=True)
        with_voxels(dataset, stored).save_as(path, enforce_file_format=True)

    return write


def _item(**tags) -> pydicom.Dataset:
    item = Dataset()
    for name, value in tags.items():
        setattr(item, name, value)
    return item
