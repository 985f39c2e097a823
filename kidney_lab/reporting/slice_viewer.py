"""What a slice viewer of the page holds: slices of a scan as JPEG, and label maps packed without loss.

The page is one file that is sent by mail: a viewer weighs at most `MAX_BYTES`, and shows every second slice, or fewer,
where all of them would weigh more.
"""

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import numpy as np
from matplotlib.image import imsave
from numpy.typing import NDArray

from kidney_lab.geometry import Spacing
from kidney_lab.labels import LABELS
from kidney_lab.metrics.surface import common_box
from kidney_lab.reporting.case_files import Scan
from kidney_lab.reporting.figures import COLORS, informative_slices
from kidney_lab.reporting.slice_drawing import BLACK_HU, WHITE_HU

MAX_BYTES: Final = 2 * 1024**2
"""Of one viewer, in base64."""

MAX_SLICES: Final = (96, 64, 48, 32, 24, 16)
"""Numbers of slices that are tried, until a viewer is light enough."""

_MARGIN_MM: Final = (10.0, 20.0, 20.0)
_QUALITY: Final = 80  # of a JPEG: noise of the scan stays, blocks are not seen


@dataclass(frozen=True)
class PackedCase:
    """A case that a viewer shows.

    Args:
        data: JSON for the page's script, with `slices` (their indices in the scan), `depth` (of the scan), `start`
            (place among the slices where it opens), `shape` (H, W), `pixel` (mm, H and W), `step` (mm between
            slices), `images` (JPEG in base64), `reference` and `predictions` (uint8 `(D, H, W)`, zlib in base64).
        every: each so manieth slice of the scan is shown.
        n_slices: that are shown.
    """

    data: str
    every: int
    n_slices: int


def pack_case(scan: Scan, predictions: Mapping[str, NDArray[np.uint8]]) -> PackedCase:
    """Packs a case, cut to what is labelled with a margin of 20 mm, and 10 mm above and below.

    Args:
        scan: image and reference.
        predictions: label map `(D, H, W)` by the method's name, at least one.

    Returns:
        At most `MAX_BYTES` of data unless 16 slices weigh more. It opens at the slice with most tumor.
    """
    box = _box(scan, predictions)
    opening = informative_slices(scan.reference, next(iter(predictions.values())))[0][1]
    allowed = float(MAX_SLICES[0])
    for at_most in MAX_SLICES:
        if at_most > allowed and at_most != MAX_SLICES[-1]:
            continue  # that would still be too heavy
        depths = _depths(box[0], opening, at_most)
        data = _pack(scan, predictions, depths, box[1:], opening)
        if len(data) <= MAX_BYTES:
            break
        allowed = len(depths) * MAX_BYTES / len(data)
    return PackedCase(data, int(depths[1] - depths[0]) if len(depths) > 1 else 1, len(depths))


def _box(scan: Scan, predictions: Mapping[str, NDArray[np.uint8]]) -> tuple[slice, slice, slice]:
    """Where anything is labelled, with a margin; the whole scan if nothing is."""
    found = common_box(scan.reference, *predictions.values())
    if any(part.start == part.stop for part in found):
        return slice(0, scan.grid.shape[0]), slice(0, scan.grid.shape[1]), slice(0, scan.grid.shape[2])
    margins = [round(mm / step) for mm, step in zip(_MARGIN_MM, scan.spacing_mm, strict=True)]
    d, h, w = (
        slice(max(part.start - margin, 0), min(part.stop + margin, size))
        for part, margin, size in zip(found, margins, scan.grid.shape, strict=True)
    )
    return d, h, w


def _depths(extent: slice, opening: int, at_most: int) -> NDArray[np.intp]:
    """Evenly spaced slices, `opening` among them."""
    step = -(-(extent.stop - extent.start) // at_most)
    first = extent.start + (opening - extent.start) % step
    return np.arange(first, extent.stop, step)


def _pack(
    scan: Scan,
    predictions: Mapping[str, NDArray[np.uint8]],
    depths: NDArray[np.intp],
    plane: tuple[slice, slice],
    opening: int,
) -> str:
    at = (depths, *plane)
    images = [_jpeg(slice_) for slice_ in scan.image[at]]
    spacing: Spacing = scan.spacing_mm
    data = {
        "slices": depths.tolist(),
        "depth": len(scan.image),
        "start": int(np.flatnonzero(depths == opening)[0]) if opening in depths else len(depths) // 2,
        "shape": list(scan.reference[at].shape[1:]),
        "pixel": [spacing[1], spacing[2]],
        "step": spacing[0],
        "images": images,
        "reference": _packed(scan.reference[at]),
        "predictions": [{"name": name, "labels": _packed(labels[at])} for name, labels in predictions.items()],
        "labels": [
            {"value": value, "name": name, "color": COLORS[name]}
            for name, value in LABELS.items()
            if any((labels[at] == value).any() for labels in (scan.reference, *predictions.values()))
        ],
    }
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")  # so that no text ends the script's element


def _jpeg(plane: NDArray[Any]) -> str:
    buffer = BytesIO()
    imsave(buffer, plane, vmin=BLACK_HU, vmax=WHITE_HU, cmap="gray", format="jpeg", pil_kwargs={"quality": _QUALITY})
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _packed(labels: NDArray[np.uint8]) -> str:
    return base64.b64encode(zlib.compress(np.ascontiguousarray(labels).tobytes())).decode("ascii")
