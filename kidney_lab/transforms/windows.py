"""Windows: ranges of Hounsfield units, each shown from black to white."""

from collections.abc import Sequence

import torch
from monai.transforms import Transform
from torch import Tensor

from kidney_lab.errors import InputError
from kidney_lab.numbers import is_range


class ScaleWindows(Transform):
    """Scales every channel from its window to [0, 1] and clips it; MONAI's `ScaleIntensityRange` has one for all.

    Args:
        windows: `[lower, upper]`, HU: one for all channels, or one for each of them; if there are more channels than
            windows, these come again from the first.

    Raises:
        InputError: one of them is no rising pair, or there is none.
    """

    def __init__(self, windows: Sequence[Sequence[float]]) -> None:
        if not isinstance(windows, Sequence) or not windows or not all(map(is_range, windows)):
            raise InputError(f"intensity.windows={windows} are no windows: give one or more rising pairs of HU.")
        self.windows = [(float(lower), float(upper)) for lower, upper in windows]

    def __call__(self, img: Tensor) -> Tensor:
        """Shows an image through the windows.

        Args:
            img: `(C, ...)`, HU.

        Returns:
            `(C, ...)`, float32, 0 to 1.

        Raises:
            InputError: the channels are no multiple of the windows.
        """
        channels, number = len(img), len(self.windows)
        if channels % number:
            raise InputError(
                f"intensity.windows names {number} windows, and an image has {channels} channels: give one window, or "
                "one for each channel (view.copies)."
            )
        shape = [channels] + [1] * (img.ndim - 1)
        bounds = torch.tensor(self.windows, device=img.device).repeat(channels // number, 1)
        lower, upper = (bounds[:, side].view(shape) for side in (0, 1))
        return ((img.to(torch.float32) - lower) / (upper - lower)).clamp(0, 1)
