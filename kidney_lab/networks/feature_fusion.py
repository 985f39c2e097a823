"""Feature fusion: all encoder levels, weighted by their mutual information with the decoder, as a decoder's skip.

J. Lin and Y. Chen, "Kidney Tumor Image Segmentation Algorithm based on Deep Learning", section 3.2: the levels are
reduced to half their channels by 1x1x1 convolutions, interpolated to the decoder stage's size, and weighted by the
mutual information of each with the decoder's current features; the result replaces the concatenated skip. Left open
there, and chosen here:

- Mutual information is that of the means over channels, pooled to at most 16 voxels an axis.
- How weights are normalised, and that no gradient flows through them (both are settings).
- Levels of different channel counts are concatenated, then brought to the stage's channels by a 1x1x1 convolution.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kidney_lab.errors import InputError
from kidney_lab.networks.mutual_information import ESTIMATORS, Estimator

Normalize = Literal["softmax", "sum", "none"]

LARGEST_GRID: Final = 16
"""Voxels an axis on which mutual information is estimated."""

NORMALIZATIONS: Final[Mapping[Normalize, Callable[[Tensor], Tensor]]] = {
    "softmax": lambda information: information.shape[1] * information.softmax(1),
    # The summand makes levels that all tell nothing equal, instead of undefined.
    "sum": lambda information: information.shape[1] * F.normalize(information.clamp(min=0) + 1e-6, p=1.0, dim=1),
    "none": lambda information: information,
}
"""From mutual information `(B, L)` to weights `(B, L)`; with `softmax` and `sum` a sample's weights have the mean 1."""


class FeatureFusion(nn.Module):
    """Joins the features of all encoder levels into one map for one decoder stage.

    Args:
        levels: channels of the encoder's levels, finest first.
        channels: channels of the decoder stage.
        mi: estimator of mutual information, `gaussian` (linear dependence alone) or `histogram`.
        mi_normalize: `softmax` over the levels, `sum` (share of the levels' sum), both times the number of levels, or
            `none`: mutual information itself, as printed, which is near 0 before training and so lets little through.
        mi_detach: whether gradients stop at the weights; that of the logarithm grows without bound towards identical
            signals.

    Raises:
        InputError: if the estimator or the normalisation is unknown.
    """

    def __init__(
        self,
        levels: Sequence[int],
        channels: int,
        *,
        mi: Estimator = "gaussian",
        mi_normalize: Normalize = "softmax",
        mi_detach: bool = True,
    ) -> None:
        super().__init__()
        if mi not in ESTIMATORS:
            raise InputError(f"model.mi={mi} is unknown: choose one of {', '.join(ESTIMATORS)}.")
        if mi_normalize not in NORMALIZATIONS:
            raise InputError(
                f"model.mi_normalize={mi_normalize} is unknown: choose one of {', '.join(NORMALIZATIONS)}."
            )
        self.estimate, self.normalize, self.mi_detach = ESTIMATORS[mi], NORMALIZATIONS[mi_normalize], mi_detach
        self.widths = [max(1, level // 2) for level in levels]
        self.reduce = nn.ModuleList(
            nn.Conv3d(level, width, kernel_size=1) for level, width in zip(levels, self.widths, strict=True)
        )
        self.merge = nn.Conv3d(sum(self.widths), channels, kernel_size=1, bias=False)

    def forward(self, features: Sequence[Tensor], decoded: Tensor) -> Tensor:
        """Fuses the encoder's features.

        Args:
            features: of the encoder's levels, finest first, `(B, levels[l], D_l, H_l, W_l)`.
            decoded: current features of the decoder stage, `(B, any, D, H, W)`.

        Returns:
            `(B, channels, D, H, W)`.
        """
        reduced = [reduce(level) for reduce, level in zip(self.reduce, features, strict=True)]
        weights = self.weights(reduced, decoded)
        # The concatenation's convolution, taken apart by level: each part then runs on the smaller of its two grids.
        parts = self.merge.weight.split(self.widths, dim=1)
        size = decoded.shape[2:]
        fused = torch.zeros((), device=decoded.device)
        for weight, level, part in zip(weights.unbind(1), reduced, parts, strict=True):
            weighted = _resized_convolution(level, part, size) * weight.to(level.dtype).view(-1, 1, 1, 1, 1)
            fused = fused + weighted
        return fused

    def weights(self, reduced: Sequence[Tensor], decoded: Tensor) -> Tensor:
        """Weights of the levels.

        Args:
            reduced: features of the levels after `reduce`, `(B, any, D_l, H_l, W_l)`.
            decoded: current features of the decoder stage, `(B, any, D, H, W)`.

        Returns:
            `(B, L)`, float32.
        """
        size = decoded.shape[2:]
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.mi_detach):
            own = _signal(decoded, size)
            information = [self.estimate(_signal(level, size), own) for level in reduced]
            return self.normalize(torch.stack(information, dim=1))


def _signal(features: Tensor, size: torch.Size) -> Tensor:
    """Means over channels, resized as the features are and pooled to `(B, N)`, in float32."""
    mean = _resize(features.mean(1, keepdim=True, dtype=torch.float32), size)
    depth, height, width = (min(n, LARGEST_GRID) for n in size)
    return F.adaptive_avg_pool3d(mean, (depth, height, width)).flatten(1)


def _resized_convolution(features: Tensor, weight: Tensor, size: torch.Size) -> Tensor:
    """1x1x1 convolution of the resized features: interpolation and it commute, so the smaller grid goes through it."""
    if features.shape[2:].numel() < size.numel():
        return _resize(F.conv3d(features, weight), size)
    return F.conv3d(_resize(features, size), weight)


def _resize(features: Tensor, size: torch.Size) -> Tensor:
    if features.shape[2:] == size:
        return features
    return F.interpolate(features, size=size, mode="trilinear", align_corners=False)
