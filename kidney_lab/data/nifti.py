"""NIfTI files: read and written without moving a voxel, and refused with a reason when they are broken.

nibabel reads the headers; the voxels of a `.nii.gz` are decoded by ISA-L (`isal`), which takes less than half of zlib's
time, and go slab by slab to where they belong in memory.
"""

import logging
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import nibabel as nib
import numpy as np
from isal import igzip, isal_zlib
from nibabel.filebasedimages import ImageFileError
from nibabel.openers import ImageOpener
from nibabel.spatialimages import HeaderDataError
from numpy.typing import DTypeLike, NDArray

from kidney_lab.data.nifti_forms import orientation_doubt
from kidney_lab.errors import InputError
from kidney_lab.files import replacing
from kidney_lab.geometry import IN_MEMORY, Grid, Triple, Volume

log = logging.getLogger(__name__)

_SLAB_BYTES = 1 << 23
_DAMAGED = (EOFError, zlib.error, cast(type[Exception], isal_zlib.error))  # isal's stubs take the class for an instance
_LENGTH_UNITS = {1: "metres", 3: "micrometres"}  # of xyzt_units; 2 is mm, and 0, unknown, is mm in all KiTS files
_NIFTI = (nib.Nifti1Image, nib.Nifti1Pair, nib.Nifti2Image, nib.Nifti2Pair)


def read_volume(path: Path, *, dtype: DTypeLike | None = None, as_stored: bool = False) -> Volume:
    """Reads a volume in the orientation of its file.

    The file is decoded slab by slab into the result, so that KiTS's float64 images never lie in memory as such, and the
    result lies in memory such that `reorient` to IPL is a C-contiguous view: a volume is never there twice.

    A header whose sform and qform disagree, or that has neither, is warned of.

    Args:
        path: `.nii` or `.nii.gz`.
        dtype: of the result; by default that of the file, or float32 where the file is float64 or scales its values
            (`scl_slope`, `scl_inter`).
        as_stored: lay the result out as the file does (first axis fastest), which spares the turning of all voxels, for
            readers that look at a small part of them.

    Returns:
        The array, with the file's scaling applied, and its grid.

    Raises:
        InputError: the file is missing, truncated, no NIfTI, not 3D, has no usable spacing, or one in other units
            than mm.
    """
    image = _open(path)
    grid = _grid(path, image)
    doubt = orientation_doubt(image.header)
    if doubt is not None:
        log.warning("%s: %s", path, doubt)
    proxy = image.dataobj
    scaled = (proxy.slope, proxy.inter) != (1, 0)
    if dtype is None:
        dtype = np.float32 if scaled or proxy.dtype.kind == "f" else proxy.dtype.newbyteorder("=")
    array = np.empty(grid.shape, dtype, order="F") if as_stored else _empty(grid, dtype)
    with _explained(path):
        for columns, slab in _slabs(proxy, grid.shape):
            array[..., columns] = slab * proxy.slope + proxy.inter if scaled else slab
    return Volume(array, grid)


def read_grid(path: Path) -> Grid:
    """Reads shape and affine from the header alone, in the orientation of the file.

    Args:
        path: `.nii` or `.nii.gz`.

    Returns:
        The grid.

    Raises:
        InputError: as `read_volume`, for what the header shows.
    """
    return _grid(path, _open(path))


def write_volume(path: Path, volume: Volume) -> None:
    """Writes a volume, or nothing at all: the file appears under its name only when it is whole.

    Args:
        path: `.nii` or `.nii.gz`; its folder is made.
        volume: in any orientation; the data type is kept (bool becomes uint8).
    """
    array = volume.array.astype(np.uint8) if volume.array.dtype == bool else volume.array
    image = nib.Nifti1Image(array, volume.grid.affine, dtype=array.dtype)
    image.set_sform(volume.grid.affine, code="scanner")
    image.set_qform(volume.grid.affine, code="scanner")
    image.header.set_xyzt_units("mm")
    with replacing(path) as temporary:
        nib.save(image, temporary)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turns what a broken file throws at its reader into one sentence."""
    try:
        yield
    except _DAMAGED as error:
        raise InputError(f"{path} is truncated or damaged ({error}); copy or download it again.") from error
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; check the path.") from error
    except (ImageFileError, HeaderDataError) as error:
        raise InputError(f"{path} is no readable NIfTI file ({error}); give a .nii or .nii.gz file.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error}); check that it is a whole .nii or .nii.gz file.") from error


def _open(path: Path) -> Any:
    """The image behind its header; voxels stay on disk."""
    with _explained(path):
        image = nib.load(path)
        if not isinstance(image, _NIFTI):
            raise ImageFileError(f"found {type(image).__name__}")
    if image.get_data_dtype().kind not in "iufb":
        raise InputError(f"{path} holds {image.get_data_dtype()} voxels, but a volume holds one real number per voxel.")
    return image


def _grid(path: Path, image: Any) -> Grid:
    """Checks the header and takes the grid from it; axes of length 1 beyond the third are dropped."""
    shape = tuple(int(n) for n in image.shape)
    if all(n == 1 for n in shape[3:]):
        shape = shape[:3]
    if len(shape) != 3 or 0 in shape:
        raise InputError(f"{path} has shape {shape}, but a CT volume has three axes; give one 3D volume per file.")
    unit = _LENGTH_UNITS.get(int(image.header["xyzt_units"]) & 7)
    if unit is not None:
        raise InputError(
            f"{path} gives its spacing {[float(step) for step in image.header.get_zooms()[:3]]} in {unit}, but mm are "
            "expected: convert it, or mend the header (xyzt_units) if the numbers are mm."
        )
    spacing = _stored_spacing(path, image)
    affine = np.asarray(image.affine, dtype=np.float64)
    usable = np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 1e-9
    if not usable or not np.all(np.isfinite(spacing) & (spacing > 0)):
        raise InputError(
            f"{path} has spacing {spacing.tolist()} mm and affine {affine.tolist()}, but both must be finite and the "
            "spacing above 0; mend the header from the original scan."
        )
    return Grid((shape[0], shape[1], shape[2]), affine)


def _stored_spacing(path: Path, image: Any) -> NDArray[np.float64]:
    """Spacing as the file has it: nibabel's own header has a zero already replaced by a one."""
    header_file = image.file_map.get("header", image.file_map["image"]).filename
    with _explained(path), ImageOpener(header_file, "rb") as file:
        header = type(image.header).from_fileobj(file, check=False)
    return np.asarray(header["pixdim"][1:4], dtype=np.float64)


def _empty(grid: Grid, dtype: DTypeLike) -> NDArray[Any]:
    """An array in the axes of the file, laid out in memory for the project's axes (IPL)."""
    file_axes = nib.orientations.io_orientation(grid.affine)
    change = nib.orientations.ornt_transform(file_axes, nib.orientations.axcodes2ornt(IN_MEMORY))
    place, direction = change.astype(int).T
    memory = np.empty([grid.shape[axis] for axis in np.argsort(place)], dtype)
    return memory.transpose(place)[tuple(slice(None, None, step) for step in direction)]


def _slabs(proxy: Any, shape: Triple) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Raw voxels in pieces along the last axis, the slowest of a NIfTI file."""
    rows, columns, n = shape
    layer = rows * columns * proxy.dtype.itemsize
    step = max(1, _SLAB_BYTES // layer)
    with _open_voxels(proxy.file_like) as file:
        file.seek(proxy.offset)
        for start in range(0, n, step):
            stop = min(start + step, n)
            wanted = layer * (stop - start)
            data = file.read(wanted)
            if len(data) < wanted:
                raise EOFError(f"the voxels end after {layer * start + len(data)} of {layer * n} bytes")
            yield slice(start, stop), np.frombuffer(data, proxy.dtype).reshape((rows, columns, -1), order="F")
        while file.read(_SLAB_BYTES):
            continue  # a gzip stream verifies its checksum at its end


def _open_voxels(name: str) -> BinaryIO:
    opener: Any = igzip.open if name.lower().endswith(".gz") else ImageOpener
    file: BinaryIO = opener(name, "rb")
    return file
