"""Where the slices of a DICOM series lie: put in order, checked for gaps and tilt, and made into a grid.

Slices are sorted by their position along the normal of their plane. InstanceNumber and file names follow other orders
in many exports.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kidney_lab.data.dicom_slices import Slice
from kidney_lab.errors import InputError
from kidney_lab.geometry import Grid

GAP_TOLERANCE = 0.1
"""A slice may lie this part of the slice spacing off its place in a regular stack; 0.1 mm are always allowed."""

SIDEWAYS_TOLERANCE = 0.5
"""A slice may be shifted within its plane by this part of a pixel against a stack at right angles."""

TILT_DEGREES = 0.5
"""A gantry tilt in the header above this is refused."""

_SAME_PLACE_MM = 0.01
_SAME = 1e-3  # of direction cosines, and of mm between pixels: headers round to fewer digits than double precision
_TO_RAS = np.array([-1.0, -1.0, 1.0])  # DICOM's axes point to the left, back and head; NIfTI's to the right and front


def stack(slices: Sequence[Slice]) -> tuple[list[Slice], Grid]:
    """Puts the slices of one axial series in order.

    Args:
        slices: of one series, in any order.

    Returns:
        The slices from head to feet, and the grid `(slices, rows, columns)` that they make. For a patient who lies on
        the back this is the in-memory orientation IPL.

    Raises:
        InputError: slices differ in shape, spacing or orientation, lack a part of the geometry, lie twice in one place,
            leave a gap, or the gantry was tilted.
    """
    _check_alike(slices)
    first = slices[0]
    normal = first.normal
    downwards = -normal if normal[2] > 0 else normal
    place = {id(s): float(np.dot(_position(s), downwards)) for s in slices}
    ordered = sorted(slices, key=lambda s: place[id(s)])
    spacing = _spacing(ordered, [place[id(s)] for s in ordered])
    _check_upright(ordered, downwards)
    row, column = np.reshape(first.orientation or (), (2, 3))
    between_rows, between_columns = first.spacing or ()
    affine = np.eye(4)
    steps = [downwards * spacing, column * between_rows, row * between_columns]
    affine[:3, :3] = np.transpose(steps) * _TO_RAS[:, None] + 0.0  # no negative zeros
    affine[:3, 3] = _position(ordered[0]) * _TO_RAS
    return ordered, Grid((len(ordered), *first.shape), affine)


def _check_alike(slices: Sequence[Slice]) -> None:
    """Every slice has a full geometry, and the same one beside its position."""
    first = slices[0]
    for s in slices:
        for name, value in (
            ("ImagePositionPatient", s.position),
            ("ImageOrientationPatient", s.orientation),
            ("PixelSpacing", s.spacing),
            ("RescaleSlope and RescaleIntercept", s.rescale),
        ):
            if value is None:
                raise InputError(f"{s.path} has no usable {name}; export the original series again.")
        if s.shape != first.shape:
            _refuse_difference("rows and columns", first, first.shape, s, s.shape)
        if not np.allclose(s.spacing or (), first.spacing or (), rtol=0, atol=_SAME):
            _refuse_difference("pixel spacing (mm)", first, first.spacing, s, s.spacing)
        if not np.allclose(s.orientation or (), first.orientation or (), rtol=0, atol=_SAME):
            _refuse_difference("orientation", first, first.orientation, s, s.orientation)
    if abs(first.tilt) > TILT_DEGREES:
        raise _tilted(first, abs(first.tilt), "its header says so")


def _refuse_difference(what: str, a: Slice, of_a: object, b: Slice, of_b: object) -> None:
    raise InputError(
        f"The {a.origin} mixes {what}, {of_a} in {_named(a)} and {of_b} in {_named(b)}; "
        "export one reconstruction alone."
    )


def _spacing(ordered: Sequence[Slice], places: Sequence[float]) -> float:
    """Distance between neighbouring slices, mm; refuses what is no regular stack."""
    if len(ordered) < 2:
        raise InputError(f"The {ordered[0].origin} has one slice, but a volume needs two; give the whole series.")
    steps = np.diff(places)
    twice = int((steps < _SAME_PLACE_MM).sum())
    if twice:
        i = int(steps.argmin())
        raise InputError(
            f"The {ordered[0].origin} has {twice} slices in the place of another, such as {_named(ordered[i])} "
            f"and {_named(ordered[i + 1])}; remove copies, or export one phase or reconstruction alone."
        )
    spacing = float(steps.mean())
    regular = places[0] + spacing * np.arange(len(places))
    off = float(np.abs(places - regular).max())
    if off > max(0.1, GAP_TOLERANCE * spacing):
        usual = float(np.median(steps))
        i = int(np.abs(steps - usual).argmax())
        missing = round(float(steps[i]) / usual) - 1
        raise InputError(
            f"The {ordered[0].origin} is not evenly spaced: {steps[i]:.2f} mm from {_named(ordered[i])} to "
            f"{_named(ordered[i + 1])}, elsewhere {usual:.2f} mm"
            + (f" ({missing} missing there)" if missing > 0 else "")
            + "; export the series again, whole."
        )
    return spacing


def _check_upright(ordered: Sequence[Slice], normal: NDArray[np.float64]) -> None:
    """The slices lie straight above each other, as seen along their normal."""
    offsets = np.array([s.position for s in ordered]) - _position(ordered[0])
    sideways = np.linalg.norm(offsets - np.outer(offsets @ normal, normal), axis=1)
    worst = int(sideways.argmax())
    if sideways[worst] > SIDEWAYS_TOLERANCE * min(ordered[0].spacing or ()):
        angle = math.degrees(math.atan2(float(sideways[worst]), float(offsets[worst] @ normal)))
        raise _tilted(ordered[worst], angle, f"that slice is shifted by {sideways[worst]:.1f} mm within its plane")


def _tilted(s: Slice, degrees: float, why: str) -> InputError:
    return InputError(
        f"The {s.origin} was scanned with a gantry tilt of {degrees:.1f} degrees ({why}); export a series without "
        "tilt, or straighten it with dcm2niix and give the NIfTI file."
    )


def _position(s: Slice) -> NDArray[np.float64]:
    return np.asarray(s.position, dtype=np.float64)


def _named(s: Slice) -> str:
    return s.path.name if s.frame == 0 else f"{s.path.name} (frame {s.frame + 1})"
