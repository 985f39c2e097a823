"""DICOM files: what their headers say about the slices in them; the voxels stay on disk.

A classic CT file holds one slice, an enhanced one a whole stack; both become a list of `Slice`. See DICOM PS3.3,
C.7.6.2 (image plane), C.7.6.16 (multi-frame functional groups) and C.8.2.1 (CT image).
"""

import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from kidney_lab.errors import InputError

NOT_AXIAL_DEGREES = 30.0
"""Slices that are tilted further than this from the plane across the patient are not taken for axial."""

_TAGS = [
    "SOPClassUID", "SeriesInstanceUID", "SeriesDescription", "Modality", "ImageType", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "GantryDetectorTilt", "RescaleSlope", "RescaleIntercept", "Rows",
    "Columns", "SamplesPerPixel", "BitsAllocated", "NumberOfFrames", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]  # fmt: skip
_BROKEN = (
    InvalidDicomError, EOFError, ValueError, TypeError, AttributeError, LookupError, NotImplementedError, RuntimeError,
    struct.error,
)  # fmt: skip  # all of these are what pydicom and its decoders throw at broken files

Vector = tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Slice:
    """One slice, as its file's header has it.

    Args:
        path: of the file.
        frame: place in the file, from 0.
        series: SeriesInstanceUID.
        description: of the series.
        modality: `CT`, `MR` and so on; empty where the file does not say.
        localizer: whether it is a scout.
        samples: values per voxel; more than 1 in a colour picture.
        shape: rows and columns; zeros in a file without an image.
        position: centre of the first voxel, mm, along DICOM's own axes (to the patient's left, back and head).
        orientation: unit vectors along a row and along a column, six numbers.
        spacing: between rows and between columns, mm.
        rescale: slope and intercept that lead to Hounsfield units.
        tilt: of the gantry, degrees.
        problem: why the voxels cannot be read, or None.
    """

    path: Path
    frame: int
    series: str
    description: str
    modality: str
    localizer: bool
    samples: int
    shape: tuple[int, int]
    position: Vector | None
    orientation: Vector | None
    spacing: Vector | None
    rescale: Vector | None
    tilt: float
    problem: str | None

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector at right angles to the slice, along DICOM's axes; NaN where the orientation is missing."""
        row, column = np.reshape(self.orientation or [np.nan] * 6, (2, 3))
        return np.cross(row, column)

    @property
    def origin(self) -> str:
        """Names the series in messages."""
        return f"series {self.description or self.series!r} in {self.path.parent}"

    @property
    def foreign(self) -> str | None:
        """Why this is no slice of an axial CT, as the end of a sentence, or None where it is one."""
        if self.modality != "CT":
            return f"its modality is {self.modality or 'not given'}, not CT"
        if self.localizer:
            return "it is a localizer"
        if self.samples != 1:
            return "it is a colour picture"
        if self.position is None and self.orientation is None:
            return "its header has no position in space"
        off_axis = math.degrees(math.acos(min(1.0, abs(float(self.normal[2]))))) if self.orientation else 0.0
        if off_axis > NOT_AXIAL_DEGREES:
            return f"its slices lie {off_axis:.0f} degrees from axial, above {NOT_AXIAL_DEGREES:.0f}"
        return None


def is_dicom(path: Path) -> bool:
    """Whether a file bears the mark of DICOM; a folder or a file that cannot be read does not."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM" and path.name != "DICOMDIR"
    except OSError:
        return False


def read_slices(path: Path) -> list[Slice]:
    """Reads what the header of a file says about its slices.

    Args:
        path: of a DICOM file.

    Returns:
        One slice per frame; one without a shape where the file holds no image, as a report.

    Raises:
        InputError: the file is missing, no DICOM, or its header is damaged.
    """
    with explained(path), path.open("rb") as file:
        header = dcmread(file, stop_before_pixels=True, specific_tags=list(_TAGS))
        syntax = UID(header.file_meta.get("TransferSyntaxUID", ""))
        problem = _problem(header, syntax, path.stat().st_size - file.tell())
        frames = range(int(header.get("NumberOfFrames") or 1))
        return [_slice(path, header, frame, problem) for frame in frames]


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns what a broken file throws at its reader into one sentence."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; check the path.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error}); check that you may read it, or copy it again.") from error
    except _BROKEN as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path} is no whole DICOM file ({reason}); copy or export it again.") from error


def _slice(path: Path, header: Dataset, frame: int, problem: str | None) -> Slice:
    parts = _parts(header, frame)
    kind = _value(parts, "FrameType") or _value(parts, "ImageType") or ()
    rescale = _numbers(_value(parts, "RescaleSlope"), 1), _numbers(_value(parts, "RescaleIntercept"), 1)
    return Slice(
        path=path,
        frame=frame,
        series=str(header.get("SeriesInstanceUID", "")),
        description=str(header.get("SeriesDescription", "")),
        modality=str(header.get("Modality", "")),
        localizer="LOCALIZER" in ([kind] if isinstance(kind, str) else kind),
        samples=int(header.get("SamplesPerPixel") or 1),
        shape=(int(header.get("Rows") or 0), int(header.get("Columns") or 0)),
        position=_numbers(_value(parts, "ImagePositionPatient"), 3),
        orientation=_directions(_value(parts, "ImageOrientationPatient")),
        spacing=spacing if (spacing := _numbers(_value(parts, "PixelSpacing"), 2)) and min(spacing) > 0 else None,
        rescale=rescale[0] + rescale[1] if rescale[0] and rescale[1] else None,
        tilt=(_numbers(_value(parts, "GantryDetectorTilt"), 1) or (0.0,))[0],
        problem=problem,
    )


def _parts(header: Dataset, frame: int) -> list[Dataset]:
    """What holds for a frame, the most special first: its own functional groups, the shared ones, the whole header."""
    own = header.get("PerFrameFunctionalGroupsSequence")
    shared = header.get("SharedFunctionalGroupsSequence")
    groups = [own[frame]] if own else []
    groups += [shared[0]] if shared else []
    return [element.value[0] for group in groups for element in group if element.VR == "SQ" and element.value] + [
        header
    ]


def _value(parts: list[Dataset], keyword: str) -> Any:
    return next((part[keyword].value for part in parts if keyword in part), None)


def _numbers(value: Any, n: int) -> Vector | None:
    """Exactly `n` finite numbers, or None."""
    numbers = tuple(float(number) for number in np.atleast_1d(value)) if value not in (None, "") else ()
    return numbers if len(numbers) == n and all(map(math.isfinite, numbers)) else None


def _directions(value: Any) -> Vector | None:
    """Two unit vectors at right angles, as six numbers, or None."""
    numbers = _numbers(value, 6)
    axes = np.reshape(numbers or [np.nan] * 6, (2, 3))
    return numbers if np.allclose(axes @ axes.T, np.eye(2), atol=0.01) else None


def _problem(header: Dataset, syntax: UID, remaining: int) -> str | None:
    """Why the voxels cannot be read, by the header and the bytes behind it."""
    if "Rows" not in header or (remaining == 0 and not syntax.is_deflated):
        return "holds no pixel data; export it with its image"
    values = int(header.Rows) * int(header.Columns) * int(header.get("NumberOfFrames") or 1)
    needed = values * int(header.BitsAllocated) // 8 + (8 if syntax.is_implicit_VR else 12)  # voxels and their tag
    if not syntax.is_compressed and not syntax.is_deflated and remaining < needed:
        return "is truncated; copy or export it again"
    try:
        ready, missing = get_decoder(syntax).is_available, "; ".join(get_decoder(syntax).missing_dependencies)
    except NotImplementedError:
        ready, missing = False, "no decoder is known"
    if ready:
        return None
    return f"is compressed as {syntax.name}, for which the decoder is missing ({missing}); export it uncompressed"
