import pytest
import torch
from monai.networks.blocks import ChannelSELayer

from kidney_lab.errors import InputError
from kidney_lab.networks.channel_attention import ChannelAttention


def with_constant_weights(attention: ChannelAttention, bias: float | torch.Tensor) -> ChannelAttention:
    """Attention whose weights are `sigmoid(bias)` whatever comes in."""
    for parameter in attention.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        attention.fc[2].bias.add_(bias)
    return attention


def test_large_biases_make_it_the_identity() -> None:
    features = torch.randn(2, 32, 3, 4, 5)
    torch.testing.assert_close(with_constant_weights(ChannelAttention(32), 20.0)(features), features)


def test_it_equals_monai_without_a_threshold() -> None:
    monai = ChannelSELayer(spatial_dims=3, in_channels=32, r=16)
    ours = ChannelAttention(32, reduction=16, threshold=0)
    ours.load_state_dict(monai.state_dict())
    features = torch.randn(2, 32, 3, 4, 5)
    torch.testing.assert_close(ours(features), monai(features))


def test_weights_by_hand() -> None:
    attention = ChannelAttention(2, reduction=2, threshold=0)
    with torch.no_grad():
        attention.fc[0].weight.copy_(torch.tensor([[1.0, -1.0]]))
        attention.fc[2].weight.copy_(torch.tensor([[1.0], [-2.0]]))
        attention.fc[0].bias.zero_()
        attention.fc[2].bias.zero_()
    features = torch.stack([torch.full((2, 2, 2), 3.0), torch.tensor([[[0.0, 2.0], [0.0, 2.0]]] * 2)])[None]
    # Means 3 and 1, hidden relu(3 - 1) = 2, weights sigmoid(2) and sigmoid(-4).
    torch.testing.assert_close(attention.weights(features), torch.tensor([[0.880797, 0.017986]]), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(attention(features)[0, 0], torch.full((2, 2, 2), 3 * 0.880797))


def test_the_threshold_zeroes_exactly_the_channels_below_it() -> None:
    wanted = torch.tensor([0.049, 0.051, 0.5, 0.001])
    attention = with_constant_weights(ChannelAttention(4, threshold=0.05), wanted.logit())
    features = torch.randn(2, 4, 3, 3, 3)
    expected = features * torch.tensor([0, 0.051, 0.5, 0]).view(1, 4, 1, 1, 1)
    torch.testing.assert_close(attention(features), expected)
    assert torch.equal(attention(features)[:, [0, 3]], torch.zeros(2, 2, 3, 3, 3))


def test_few_channels_keep_one_hidden_unit() -> None:
    assert ChannelAttention(8, reduction=16).fc[0].out_features == 1


def test_a_threshold_that_is_no_weight_is_refused() -> None:
    with pytest.raises(InputError, match=r"model.channel_threshold=1 is no weight: write a number from 0"):
        ChannelAttention(8, threshold=1)
    with pytest.raises(InputError, match=r"model.channel_threshold=abc is no weight: write a number from 0"):
        ChannelAttention(8, threshold="abc")
    with pytest.raises(InputError, match="reduction 0 of channel attention is too small"):
        ChannelAttention(8, reduction=0)
