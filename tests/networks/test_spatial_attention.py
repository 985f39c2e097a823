import pytest
import torch

from kidney_lab.networks.spatial_attention import SpatialAttention


@pytest.mark.parametrize(("bias", "factor"), [(20.0, 1.0), (0.0, 0.5)])
def test_zero_weights_multiply_every_voxel_by_the_sigmoid_of_the_bias(bias: float, factor: float) -> None:
    attention = SpatialAttention()
    torch.nn.init.zeros_(attention.conv.weight)
    torch.nn.init.constant_(attention.conv.bias, bias)
    features = torch.randn(2, 4, 3, 4, 5)
    torch.testing.assert_close(attention(features), factor * features)


def test_weights_by_hand() -> None:
    attention = SpatialAttention()
    with torch.no_grad():
        attention.conv.weight.copy_(torch.tensor([0.5, -1.0]).view(1, 2, 1, 1, 1))
        attention.conv.bias.fill_(1.0)
    # shape: (1, 2, 1, 1, 2); means 2 and -1, maxima 3 and 1
    features = torch.tensor([[[[[1.0, 1.0]]], [[[3.0, -3.0]]]]])
    weights = torch.tensor([0.5 * 2 - 3 + 1, 0.5 * -1 - 1 + 1]).sigmoid()
    torch.testing.assert_close(attention(features), features * weights)
