"""CT volumes from DICOM: the slices of a series decoded one by one into Hounsfield units.

pydicom reads the files. What it decodes by itself (uncompressed, deflated, RLE) and by GDCM (JPEG lossless, JPEG-LS,
JPEG 2000 and the lossy ones) is what scanners and archives send.
"""

import logging
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.pixels.utils import iter_pixels

from kidney_lab.data.dicom_series import Series, find_series
from kidney_lab.data.dicom_slices import Slice, explained
from kidney_lab.errors import InputError
from kidney_lab.geometry import Volume

log = logging.getLogger(__name__)


def read_series(source: Path | Sequence[Path]) -> Volume:
    """Reads an axial CT series.

    Args:
        source: a folder with one such series, one file of it, or its files; see `find_series`.

    Returns:
        Hounsfield units `(slices, rows, columns)` from head to feet, and their grid; for a patient who lies on the back
        in orientation IPL. int16, or float32 where int16 does not hold the values.

    Raises:
        InputError: there is no such series, or several; it is broken, gapped or tilted; a decoder is missing.
    """
    series = find_series(source)
    for note in series.notes:
        log.warning(note)
    return read_voxels(series)


def read_voxels(series: Series) -> Volume:
    """Decodes the slices of a series, holding the volume and one slice.

    What lies outside the scanner's field of view keeps its padding value, as in other readers.

    Args:
        series: as found.

    Returns:
        As `read_series`.

    Raises:
        InputError: a slice cannot be decoded.
    """
    whole = all(number.is_integer() for s in series.slices for number in s.rescale or ())
    array: NDArray[Any] = np.empty(series.grid.shape, np.int16 if whole else np.float32)
    limits = np.iinfo(np.int16)
    for i, (s, stored) in enumerate(_decoded(series)):
        hu = _rescaled(s, stored)
        if array.dtype == np.int16 and (hu.min() < limits.min or hu.max() > limits.max):
            array = array.astype(np.float32)  # metal on a scanner with an extended scale: rare enough for a second copy
        array[i] = hu
    return Volume(array, series.grid)


def _decoded(series: Series) -> Iterator[tuple[Slice, NDArray[Any]]]:
    """The slices in their order, each with its stored values."""
    for path, group in groupby(series.slices, key=lambda s: s.path):
        of_file = list(group)
        with explained(path):
            # pydicom inflates deflated files only as a whole; a file of many slices must not lie in memory as such.
            source = dcmread(path) if len(of_file) == 1 else path
            frames = iter_pixels(source, indices=[s.frame for s in of_file], raw=True)
            for s, stored in zip(of_file, frames, strict=True):
                if stored.shape != s.shape:
                    raise InputError(
                        f"{path} decodes to shape {stored.shape}, but its header says {s.shape}; copy it again."
                    )
                yield s, stored


def _rescaled(s: Slice, stored: NDArray[Any]) -> NDArray[Any]:
    """Hounsfield units of a slice: int64 where slope and intercept are whole, else float64."""
    slope, intercept = s.rescale or (1.0, 0.0)
    if slope.is_integer() and intercept.is_integer():
        return stored.astype(np.int64) * int(slope) + int(intercept)
    return stored * slope + intercept
