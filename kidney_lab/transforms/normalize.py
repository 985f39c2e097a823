"""Normalisation by the foreground's statistics: clip, subtract the mean, divide by the standard deviation.

nnU-Net's scheme for CT; where the statistics come from stands in `kidney_lab/data/statistics.py`.
"""

from collections.abc import Sequence
from typing import Any

import torch
from monai.transforms import Compose, ScaleIntensityRange, Transform
from torch import Tensor

from kidney_lab.data.statistics import IntensityStatistics, foreground_statistics
from kidney_lab.data.store import Store
from kidney_lab.errors import InputError
from kidney_lab.transforms.windows import ScaleWindows


class NormalizeForeground(Transform):
    """Clips Hounsfield units and brings the foreground's to mean 0 and standard deviation 1: `(x - mean) / std`.

    Its statistics are those of the training cases; it is of use once it has them, by `fit` or by setting `statistics`.

    Args:
        percentiles: of the foreground's HU to clip to, 0 to 100.
        window: HU to clip to.

    Raises:
        InputError: not exactly one of both is given, or it is no rising pair.
    """

    def __init__(self, percentiles: Sequence[float] | None = None, window: Sequence[float] | None = None) -> None:
        self.percentiles = _rising_pair("percentiles", percentiles)
        self.window = _rising_pair("window", window)
        if (self.percentiles is None) == (self.window is None):
            raise InputError("intensity= needs either percentiles or window, and not both: set the other one to null.")
        if self.percentiles is not None and not 0 <= self.percentiles[0] < self.percentiles[1] <= 100:
            raise InputError(f"intensity.percentiles={list(self.percentiles)} must lie between 0 and 100.")
        self.statistics: IntensityStatistics | None = None

    def fit(self, store: Store, cases: Sequence[str]) -> IntensityStatistics:
        """Takes the statistics of some cases of a store, usually the training split's, and returns them."""
        self.statistics = foreground_statistics(store, cases, percentiles=self.percentiles, window=self.window)
        return self.statistics

    def __call__(self, img: Tensor) -> Tensor:
        """Normalises an image.

        Args:
            img: HU, any shape, on any device.

        Returns:
            float32, same shape.

        Raises:
            RuntimeError: there are no statistics yet.
        """
        if self.statistics is None:
            raise RuntimeError("NormalizeForeground has no statistics yet: call fit, or set statistics.")
        s = self.statistics
        return (img.to(torch.float32).clamp(s.lower, s.upper) - s.mean) / s.std


class RoundIntensity(Transform):
    """Rounds intensities to multiples of a step, as an image kept in 8 bits has them.

    Args:
        step: between two grey levels.
    """

    def __init__(self, step: float = 1.0) -> None:
        self.step = step

    def __call__(self, img: Tensor) -> Tensor:
        """Rounds an image, half to even."""
        return torch.round(img / self.step) * self.step


def grey_step(intensity: Any) -> float:
    """Step between the 256 grey levels of what a MONAI transform gives; 1 where its range is not known."""
    if isinstance(intensity, ScaleIntensityRange) and intensity.b_min is not None and intensity.b_max is not None:
        return float(intensity.b_max - intensity.b_min) / 255
    if isinstance(intensity, ScaleWindows):
        return 1 / 255
    return 1.0


def foreground_normalizer(intensity: Any) -> NormalizeForeground | None:
    """The part of a MONAI transform (itself, or one of a `Compose`) that needs the statistics of the training cases."""
    parts = intensity.flatten().transforms if isinstance(intensity, Compose) else [intensity]
    return next((part for part in parts if isinstance(part, NormalizeForeground)), None)


def _rising_pair(name: str, values: Sequence[float] | None) -> tuple[float, float] | None:
    if values is None:
        return None
    if len(values) != 2 or not values[0] < values[1]:
        raise InputError(f"intensity.{name}={list(values)} is no rising pair: give [lower, upper].")
    return float(values[0]), float(values[1])
