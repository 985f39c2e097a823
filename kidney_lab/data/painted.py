"""Painted images of cases that have none, kept on disk: painting one takes ten seconds, and every run tests on them."""

import hashlib
import os
from pathlib import Path

import blosc2
import numpy as np

from kidney_lab.data import synthesis
from kidney_lab.data.kits import Case
from kidney_lab.data.store import open_array
from kidney_lab.geometry import Volume


def painted_once(case: Case, folder: Path) -> Volume:
    """The image that `Case.read_image` paints, from a file where it was painted before.

    Args:
        case: with `synthesize`.
        folder: where painted images are kept, one compressed file each of about half of its 2 bytes per voxel; a file
            belongs to one label map and one recipe of painting, so that a changed case is painted anew.

    Returns:
        Hounsfield units `(D, H, W)`, in memory order, C-contiguous.

    Raises:
        InputError: see `Case.read_image` and `Case.read_label`.
    """
    label = case.read_label()
    content = hashlib.sha256(label.array.tobytes())
    content.update(repr((case.id, synthesis.RECIPE, label.grid.shape, label.grid.affine.tolist())).encode())
    file = folder / f"{case.id}-{content.hexdigest()[:12]}.b2nd"
    if file.is_file():
        return Volume(np.asarray(open_array(file)[:]), label.grid)
    image = case.read_image()
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(f".{os.getpid()}")  # two runs may paint the same case at a time
    unfinished.write_bytes(blosc2.asarray(image.array).to_cframe())
    unfinished.replace(file)
    return image
