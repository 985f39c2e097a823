"""The box around the patient: what lies outside is air and table, and costs memory and windows for nothing."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Box = tuple[slice, slice, slice]

_BODY_HU = -500.0  # halfway between air and water: skin and fat are above, blankets mostly below
_COARSE = 128  # voxels per axis at which the body is looked for
_MARGIN = 2  # coarse voxels left around the body


def body_box(image_hu: NDArray[Any]) -> Box:
    """Finds the box of the patient in a CT volume.

    The largest connected thing above -500 HU on a coarse copy, after an opening within each slice that drops the table,
    wires and other thin things. Where nothing is found (an empty or tiny volume), the box is the whole volume.

    Args:
        image_hu: `(D, H, W)`, Hounsfield units.

    Returns:
        One slice per axis, with a margin, within the volume.
    """
    steps = [max(1, n // _COARSE) for n in image_hu.shape]
    coarse = image_hu[:: steps[0], :: steps[1], :: steps[2]] > _BODY_HU
    disc = ndimage.iterate_structure(ndimage.generate_binary_structure(2, 1), 2)
    opened = ndimage.binary_opening(coarse, structure=disc[np.newaxis])
    things, n = ndimage.label(opened)
    if n == 0:
        return slice(0, image_hu.shape[0]), slice(0, image_hu.shape[1]), slice(0, image_hu.shape[2])
    largest = int(np.bincount(things.ravel())[1:].argmax())
    found = ndimage.find_objects(things)[largest]
    d, h, w = (
        slice(max(0, (box.start - _MARGIN) * step), min(n, (box.stop + _MARGIN) * step))
        for box, step, n in zip(found, steps, image_hu.shape, strict=True)
    )
    return d, h, w
