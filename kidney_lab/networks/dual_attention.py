"""Channel and spatial attention together, one after the other or side by side.

J. Lin and Y. Chen, "Kidney Tumor Image Segmentation Algorithm based on Deep Learning": section 3.4 feeds the spatial
module with the channel module's output, the conclusion calls the two parallel without saying how they are joined: here
by the mean of both outputs, so that neither order changes the features' scale.
"""

from typing import Final, Literal, get_args

from torch import Tensor, nn

from kidney_lab.errors import InputError
from kidney_lab.networks.channel_attention import ChannelAttention
from kidney_lab.networks.spatial_attention import SpatialAttention

AttentionOrder = Literal["sequential", "parallel"]
ORDERS: Final = get_args(AttentionOrder)


class DualAttention(nn.Module):
    """Channel attention and spatial attention of one feature map; without both the identity, free of parameters.

    Args:
        channels: number of channels.
        channel: whether channels are weighted.
        spatial: whether voxels are weighted.
        order: `sequential` (channels first) or `parallel` (mean of both outputs); without effect unless both are on.
        threshold: see `ChannelAttention`.

    Raises:
        InputError: on any other order.
    """

    def __init__(
        self,
        channels: int,
        *,
        channel: bool = True,
        spatial: bool = True,
        order: AttentionOrder = "sequential",
        threshold: float = 0.05,
    ) -> None:
        super().__init__()
        if order not in ORDERS:
            raise InputError(f"model.attention_order={order} is unknown: choose one of {', '.join(ORDERS)}.")
        self.channel = ChannelAttention(channels, threshold=threshold) if channel else nn.Identity()
        self.spatial = SpatialAttention() if spatial else nn.Identity()
        self.parallel = order == "parallel" and channel and spatial

    def forward(self, features: Tensor) -> Tensor:
        """Weighted features, of the same shape `(B, C, D, H, W)`."""
        by_channel: Tensor = self.channel(features)
        if self.parallel:
            by_voxel: Tensor = self.spatial(features)
            return (by_channel + by_voxel) / 2
        weighted: Tensor = self.spatial(by_channel)
        return weighted
