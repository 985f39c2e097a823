"""What is no tissue on axial slices: values that no tissue has, and things that lie outside the body.

Nagarajan and Ramprasath, IJETT 72(9), 2024, "address potential artefacts" and do not say which or how. Chosen: HU are
clipped to the range of 12 bits that CT scanners have for tissue (beyond it are metal, and the padding about the field
of view), before a filter or a resizing spreads them; and, where asked for, all that lies outside the body (table,
clothing, cables, an arm) becomes air. The store's scans are already cropped to the body's box.
"""

from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from kidney_lab.data.views.boxes import AIR_HU
from kidney_lab.errors import InputError

Artefacts = Literal["none", "clip", "body"]

TISSUE_HU: Final = (-1024, 3071)
"""What 12 bits hold."""

_BODY_HU: Final = -500  # halfway between air and water
_OPENING_PX: Final = 3  # drops the table, cables, and the bridges between them and the skin


def without_artefacts(planes: NDArray[np.int16], handling: Artefacts) -> NDArray[np.int16]:
    """Slices without artefacts.

    Args:
        planes: `(N, H, W)`, HU.
        handling: `none`; `clip` to what tissue has; `body`: clip, and make air of all outside the body.
    """
    if handling == "none":
        return planes
    clipped: NDArray[np.int16] = np.clip(planes, *TISSUE_HU)
    return np.where(body_mask(clipped), clipped, np.int16(AIR_HU)) if handling == "body" else clipped


def check_artefacts(handling: str) -> None:
    """Refuses what is no such handling.

    Raises:
        InputError: names the choices.
    """
    if handling not in get_args(Artefacts):
        raise InputError(f"view.artefacts={handling} is unknown: choose {', '.join(get_args(Artefacts))}.")


def body_mask(planes: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Where the body is on every slice: the largest thing above -500 HU that is no thin one, with what it encloses.

    Args:
        planes: `(N, H, W)`, HU.

    Returns:
        bool `(N, H, W)`; a slice without any such thing is body all over.
    """
    return np.stack([_body_of(plane) for plane in planes])


def _body_of(plane: NDArray[np.int16]) -> NDArray[np.bool_]:
    dense = plane > _BODY_HU
    # Mirrored beyond the border, or a body that reaches it would be opened from there.
    padded = np.pad(dense, _OPENING_PX, mode="edge")
    inner = (slice(_OPENING_PX, -_OPENING_PX),) * 2
    things, number = ndimage.label(ndimage.binary_opening(padded, iterations=_OPENING_PX)[inner])
    if number == 0:
        return np.ones_like(dense)
    largest = things == 1 + int(np.bincount(things.ravel())[1:].argmax())
    body: NDArray[np.bool_] = ndimage.binary_fill_holes(largest)
    return body
