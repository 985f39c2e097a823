import pytest
import torch

from kidney_lab.errors import InputError
from kidney_lab.networks.dual_attention import DualAttention

FEATURES = torch.randn(2, 16, 3, 4, 5, generator=torch.Generator().manual_seed(0))


def test_sequential_attention_weights_voxels_of_the_weighted_channels() -> None:
    attention = DualAttention(16)
    torch.testing.assert_close(attention(FEATURES), attention.spatial(attention.channel(FEATURES)))


def test_parallel_attention_is_the_mean_of_both() -> None:
    attention = DualAttention(16, order="parallel")
    expected = (attention.channel(FEATURES) + attention.spatial(FEATURES)) / 2
    torch.testing.assert_close(attention(FEATURES), expected)


@pytest.mark.parametrize("order", ["sequential", "parallel"])
def test_with_one_of_them_the_order_has_no_effect(order: str) -> None:
    channel, spatial = DualAttention(16, spatial=False, order=order), DualAttention(16, channel=False, order=order)
    torch.testing.assert_close(channel(FEATURES), channel.channel(FEATURES))
    torch.testing.assert_close(spatial(FEATURES), spatial.spatial(FEATURES))


@pytest.mark.parametrize("order", ["sequential", "parallel"])
def test_with_none_of_them_it_is_the_identity_without_parameters(order: str) -> None:
    attention = DualAttention(16, channel=False, spatial=False, order=order)
    assert torch.equal(attention(FEATURES), FEATURES)
    assert attention.state_dict() == {}


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"model.attention_order=both is unknown: choose one of sequential, parallel\."
    ):
        DualAttention(16, order="both")
