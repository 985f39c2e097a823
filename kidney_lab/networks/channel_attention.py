"""Channel attention by squeeze and excitation, with weak channels switched off.

J. Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018, doi:10.1109/CVPR.2018.00745; J. Lin and Y. Chen, "Kidney
Tumor Image Segmentation Algorithm based on Deep Learning", sections 2.2.2 and 3.3, add the threshold and leave open how
a channel under it is "suppressed": here it is multiplied by exactly 0.
"""

from torch import Tensor, nn

from kidney_lab.errors import InputError
from kidney_lab.numbers import is_number


class ChannelAttention(nn.Module):
    """Multiplies every channel by a weight in 0 to 1 that the means of all channels decide.

    `weights = sigmoid(W2 relu(W1 mean(x)))`. A channel whose weight falls under the threshold is zeroed, in training
    too; it gets no gradient from that sample. Without a threshold this is MONAI's `ChannelSELayer`, parameter names
    included.

    Args:
        channels: number of channels.
        reduction: the hidden layer has `channels // reduction` units, at least one.
        threshold: channels with a smaller weight are zeroed; 0 zeroes none.

    Raises:
        InputError: if the threshold is outside 0 to 1 or the reduction under 1.
    """

    def __init__(self, channels: int, *, reduction: int = 16, threshold: float = 0.05) -> None:
        super().__init__()
        if not is_number(threshold) or not 0 <= threshold < 1:
            raise InputError(f"model.channel_threshold={threshold} is no weight: write a number from 0 to under 1.")
        if reduction < 1:
            raise InputError(f"The reduction {reduction} of channel attention is too small: write 1 or more.")
        self.threshold = threshold
        hidden = max(1, channels // reduction)
        self.fc = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels), nn.Sigmoid())

    def weights(self, features: Tensor) -> Tensor:
        """Weights of the channels.

        Args:
            features: `(B, C, ...)`.

        Returns:
            `(B, C)`, 0 or from the threshold to 1.
        """
        weights: Tensor = self.fc(features.flatten(2).mean(2))
        return weights * (weights >= self.threshold)

    def forward(self, features: Tensor) -> Tensor:
        """Weighted features, of the same shape `(B, C, ...)`."""
        weights = self.weights(features)
        return features * weights.view(*weights.shape, *(1 for _ in features.shape[2:]))
