"""Spatial attention: every voxel is weighted by what its channels' mean and maximum say.

J. Lin and Y. Chen, "Kidney Tumor Image Segmentation Algorithm based on Deep Learning", section 3.4: CBAM's spatial part
(S. Woo et al., ECCV 2018, doi:10.1007/978-3-030-01234-2_1) with a 1x1x1 in place of its 7x7 convolution.
"""

import torch
from torch import Tensor, nn


class SpatialAttention(nn.Module):
    """Multiplies every voxel by `sigmoid(conv([mean over channels, maximum over channels]))`, in 0 to 1."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(2, 1, kernel_size=1)

    def forward(self, features: Tensor) -> Tensor:
        """Weighted features, of the same shape `(B, C, D, H, W)`."""
        pooled = torch.cat([features.mean(1, keepdim=True), features.amax(1, keepdim=True)], dim=1)
        weights: Tensor = self.conv(pooled).sigmoid()
        return features * weights
