"""How trained networks look at a scan: what is a matter of the scan's segmentation and not of the training."""

from collections.abc import Sequence
from dataclasses import dataclass

from kidney_lab.errors import InputError


@dataclass(frozen=True)
class InferenceSettings:
    """Settings of inference, the config's node `inference`.

    Args:
        mirror_axes: axes that images are mirrored along, alone and together, the answers being averaged: 0 slices (D),
            1 rows (H), 2 columns (W); each axis doubles the time. See `kidney_lab.methods.mirroring`.
        skip_air: leave out windows of 3D networks that show nothing but air.
        precision: `trained` (that of the training), `auto` (the fastest that the device has), or one of Lightning's
            names; see `kidney_lab.inference.precision.precision_to_predict_in`.
        memory_gib: most memory for probabilities of stages that both a later stage and the result ask for, on their own
            grids, shared evenly among these stages; larger ones are computed twice.

    Raises:
        InputError: an axis is none of the three, or named twice, the switch is neither true nor false, or the memory is
            no amount.
    """

    mirror_axes: Sequence[int] = ()
    skip_air: bool = True
    precision: str = "trained"
    memory_gib: float = 2.0

    def __post_init__(self) -> None:
        named = isinstance(self.mirror_axes, Sequence) and not isinstance(self.mirror_axes, str)
        axes = list(self.mirror_axes) if named else []
        whole = all(type(axis) is int for axis in axes)  # true and 1.0 equal 1
        if not named or not whole or not {*axes} <= {0, 1, 2} or len({*axes}) < len(axes):
            raise InputError(
                f"inference.mirror_axes={self.mirror_axes} must name 0 (slices), 1 (rows) and 2 (columns) once at "
                "most; [] is none."
            )
        if not isinstance(self.skip_air, bool):
            raise InputError(f"inference.skip_air={self.skip_air} is neither true nor false: choose one of them.")
        if (
            isinstance(self.memory_gib, bool)
            or not isinstance(self.memory_gib, int | float)
            or not self.memory_gib >= 0
        ):
            raise InputError(f"inference.memory_gib={self.memory_gib} is no amount: give GiB of at least 0.")


DEFAULTS = InferenceSettings()
