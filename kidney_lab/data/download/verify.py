"""Is a file whole? Decoded to its end, and read as far as its kind must be readable."""

import gzip
import io
import json
import math
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
from nibabel.spatialimages import HeaderDataError

_CHUNK = 1 << 20
_LONGEST_HEADER = 540  # bytes of a NIfTI-2 header; NIfTI-1 has 348


def problem_of(path: Path, name: str) -> str | None:
    """Says what is wrong with a file.

    Args:
        path: of the file.
        name: that it is to have; its ending tells the kind, `.json` or `.nii.gz`.

    Returns:
        A clause, or None where the file is whole.
    """
    try:
        return _problem_of_json(path) if name.endswith(".json") else _problem_of_nifti(path)
    except OSError as error:
        return f"it cannot be read ({error.strerror or error})"


def _problem_of_json(path: Path) -> str | None:
    try:
        json.loads(path.read_bytes())
    except ValueError as error:
        return f"it is no JSON ({error}) but begins with {_start(path)}"
    return None


def _problem_of_nifti(path: Path) -> str | None:
    try:
        with gzip.open(path) as stream:
            start = stream.read(_LONGEST_HEADER)
            n = len(start)
            while chunk := stream.read(_CHUNK):
                n += len(chunk)
    except gzip.BadGzipFile as error:
        return f"it is no whole gzip file ({error}) and begins with {_start(path)}"
    except (EOFError, zlib.error) as error:
        return f"its gzip data is truncated or damaged ({error})"
    return _problem_of_header(start, n)


def _problem_of_header(start: bytes, n: int) -> str | None:
    """Judges the header, and whether `n` decoded bytes are as many as it promises."""
    kind: Any = next((k for k in (nib.Nifti1Header, nib.Nifti2Header) if k.may_contain_header(start)), None)
    if kind is None:
        return "it holds no NIfTI header"
    try:
        header = kind.from_fileobj(io.BytesIO(start))
        wanted = int(header["vox_offset"]) + math.prod(header.get_data_shape()) * header.get_data_dtype().itemsize
    except (HeaderDataError, ValueError) as error:
        return f"its NIfTI header cannot be read ({error})"
    return f"its voxels end after {n} of {wanted} bytes" if n < wanted else None


def _start(path: Path) -> str:
    with path.open("rb") as file:
        return repr(file.read(40).decode("utf-8", errors="replace"))
