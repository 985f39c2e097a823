"""Label maps as DICOM segmentation (SEG) beside the DICOM series that they were made of.

DICOM PS3.3, A.51 (Segmentation IOD), written by highdicom (Bridge et al., J Digit Imaging 2022,
doi:10.1007/s10278-022-00683-y). What a segment is stands in codes of SNOMED CT, so that a viewer or an archive knows
it without this program:

| label | category (CID 7150) | type | anatomic region |
|---|---|---|---|
| kidney | Anatomical Structure | Kidney (CID 7154) | |
| tumor | Morphologically Abnormal Structure | Neoplasm (CID 7159) | Kidney |
| cyst | Morphologically Abnormal Structure | Cyst (CID 7159) | Kidney |

"Mass", as other collections of renal tumors code it, would be right for both a tumor and a cyst, and tell neither.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from kidney_lab.data.dicom_series import Series
from kidney_lab.errors import InputError
from kidney_lab.files import replacing
from kidney_lab.geometry import Volume, reorient
from kidney_lab.labels import LABELS
from kidney_lab.reporting.figures import COLORS
from kidney_lab.wording import listed

log = logging.getLogger(__name__)

SAME_PLACE_MM: Final = 0.1
"""How far a voxel of the label map may lie from that of the series."""

_ABNORMAL = codes.SCT.MorphologicallyAbnormalStructure
_CODES: Final[dict[str, tuple[Any, Any]]] = {
    "kidney": (codes.SCT.AnatomicalStructure, codes.SCT.Kidney),
    "tumor": (_ABNORMAL, codes.SCT.Neoplasm),
    "cyst": (_ABNORMAL, codes.SCT.Cyst),
}
_MAY_LACK = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime"),
)  # the standard wants them there, if empty; tools that take names out leave them out
_IDENTITIES = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")


@dataclass(frozen=True)
class Algorithm:
    """What made a label map, for the record in the file.

    Args:
        name: of the trained method, such as `unet3d-kits23`; at most 64 characters are kept.
        version: of its training, such as the hash of its configuration; at most 64 characters are kept.
    """

    name: str
    version: str


def write_segmentation(path: Path, labels: Volume, series: Series, algorithm: Algorithm) -> bool:
    """Writes a label map as a DICOM-SEG file: one binary segment for each label that it holds.

    Args:
        path: of the file, `.dcm`; its folder is made.
        labels: `(D, H, W)` label values, in any orientation of the series' grid.
        series: that was segmented; its files are read again for their headers.
        algorithm: that segmented it.

    Returns:
        Whether there is a file: none is written of a label map without any label, since a SEG must have a segment.

    Raises:
        InputError: the label map lies on another grid or holds other values, or the series' files cannot be referred
            to.
    """
    frames = frames_of(labels, series)
    if not frames.any():
        log.info("%s is not written: the label map holds no label, and a DICOM-SEG file needs one.", path)
        return False
    sources = _sources(series)
    segmentation = _segmentation(_by_frame(frames, series, sources), sources, algorithm)
    with replacing(path) as temporary:
        segmentation.save_as(temporary)
    return True


def frames_of(labels: Volume, series: Series) -> NDArray[np.uint8]:
    """A label map as slices of a series.

    Args:
        labels: `(D, H, W)` in any orientation.
        series: on whose grid it lies.

    Returns:
        uint8 `(slices, rows, columns)`, slices in the order of `series.slices`.

    Raises:
        InputError: it lies on another grid, or holds values that are no labels.
    """
    turned = reorient(labels, series.grid.orientation)
    if not turned.grid.same_as(series.grid, SAME_PLACE_MM):
        raise InputError(
            f"The label map has shape {labels.grid.shape} and spacing {_rounded(labels.grid.spacing)} mm, which is not "
            f"the grid of the {series.slices[0].origin} (shape {series.grid.shape}, spacing "
            f"{_rounded(series.grid.spacing)} mm); give the label map of that very series."
        )
    unknown = sorted(set(np.unique(turned.array).tolist()) - {0, *LABELS.values()})
    if unknown:
        raise InputError(f"The label map holds {unknown}, but labels are 0 and {LABELS}; give a map of these.")
    return turned.array.astype(np.uint8)


def _rounded(spacing: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(mm, 3) for mm in spacing)


def _sources(series: Series) -> list[Dataset]:
    """Headers of the series' files in the order of its slices; what the standard wants and they lack is filled in."""
    headers: list[Dataset] = [dcmread(path, stop_before_pixels=True) for path in series.files]
    if len(headers) > 1 and len(headers) != len(series.slices):
        raise InputError(
            f"The {series.slices[0].origin} has files of several slices each, to which one DICOM-SEG file cannot "
            "refer; write NIfTI, or export the series as one file, or one file a slice."
        )
    for path, header in zip(series.files, headers, strict=True):
        meta = header.file_meta
        header.SOPInstanceUID = header.get("SOPInstanceUID") or meta.get("MediaStorageSOPInstanceUID")
        header.SOPClassUID = header.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID")
        if not header.SOPInstanceUID or not header.SOPClassUID:
            raise InputError(
                f"{path} has no SOP instance UID, by which a DICOM-SEG file refers to it; write NIfTI, or export the "
                "series again."
            )
        for name in _MAY_LACK:
            if name not in header:
                setattr(header, name, "")
        if not header.get("SliceThickness"):  # may be empty, but a SEG of single slices must have one
            header.SliceThickness = round(series.grid.spacing[0], 6)
    missing = [name for name in _IDENTITIES if not all(header.get(name) for header in headers)]
    for name in missing:
        made_up = generate_uid(entropy_srcs=[name, *sorted(str(header.SOPInstanceUID) for header in headers)])
        for header in headers:
            setattr(header, name, made_up)
    if missing:
        log.warning(
            "The %s has no %s: the DICOM-SEG file gets made-up ones, the same for the same slices, by which an archive "
            "cannot find the study.",
            series.slices[0].origin,
            listed(missing),
        )
    return headers


def _by_frame(frames: NDArray[np.uint8], series: Series, sources: Sequence[Dataset]) -> NDArray[np.uint8]:
    """The slices as highdicom wants them: one for each source file, or one for each frame of the only source."""
    n = int(sources[0].get("NumberOfFrames") or 1)
    if len(sources) > 1 or n == 1:
        return frames
    whole = np.zeros((n, *frames.shape[1:]), np.uint8)
    whole[[s.frame for s in series.slices]] = frames
    return whole


def _segmentation(frames: NDArray[np.uint8], sources: Sequence[Dataset], algorithm: Algorithm) -> hd.seg.Segmentation:
    present = [name for name, value in LABELS.items() if (frames == value).any()]
    numbers = np.zeros(max(LABELS.values()) + 1, np.uint8)  # segments are numbered from 1 without gaps
    for number, name in enumerate(present, start=1):
        numbers[LABELS[name]] = number
    program = version("kidney-lab")
    return hd.seg.Segmentation(
        source_images=sources,
        pixel_array=numbers[frames],
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_described(number, name, algorithm) for number, name in enumerate(present, start=1)],
        series_instance_uid=hd.UID(),
        series_number=_series_number(sources[0]),
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="kidney_lab",
        manufacturer_model_name=algorithm.name[:64],
        software_versions=program,
        device_serial_number=algorithm.version[:64],
        content_label="KIDNEY_SEG",
        content_description="Automatic segmentation of " + ", ".join(present),
        series_description=f"kidney_lab: {', '.join(present)}",
    )


def _described(number: int, name: str, algorithm: Algorithm) -> hd.seg.SegmentDescription:
    category, kind = _CODES[name]
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=algorithm.name[:64],
            family=codes.DCM.ArtificialIntelligence,
            version=algorithm.version[:64],
            source="kidney_lab",
        ),
        anatomic_regions=[codes.SCT.Kidney] if category == _ABNORMAL else None,
        display_color=hd.color.CIELabColor.from_string(COLORS[name]),
    )


def _series_number(source: Dataset) -> int:
    """Number that sorts the SEG behind the series that it was made of."""
    return 1000 + int(source.get("SeriesNumber") or 0)
