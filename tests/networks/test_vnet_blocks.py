import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kidney_lab.errors import InputError
from kidney_lab.networks.vnet_blocks import Downsampling, TwoConvolutions, channels_below, strided, upsampling


def features(channels: int, *, seed: int = 0) -> torch.Tensor:
    return torch.randn(2, channels, 4, 6, 8, generator=torch.Generator().manual_seed(seed))


def last_norm_zeroed(block: TwoConvolutions) -> TwoConvolutions:
    """A block whose convolutions add nothing, so that only the residual sum is left."""
    nn.init.zeros_(block.convolutions[-1].weight)
    return block


def test_two_convolutions_are_those_of_torch() -> None:
    block = TwoConvolutions(3, 5, residual=False)
    first, last = block.convolutions[0], block.convolutions[3]
    inner = F.prelu(F.instance_norm(F.conv3d(features(3), first.weight, padding=1)), block.convolutions[2].weight)
    outer = F.prelu(F.instance_norm(F.conv3d(inner, last.weight, padding=1)), block.activation.weight)

    torch.testing.assert_close(block(features(3), identity=features(3)), outer)


@pytest.mark.parametrize(
    ("channels", "order"),
    [(4, [0, 1, 2, 3]), (6, [0, 1, 2, 3, 0, 1]), (3, [0, 1, 2])],
    ids=["as many", "fewer: repeated", "more: the first"],
)
def test_the_residual_sum_fits_the_channels_of_what_it_adds(channels: int, order: list[int]) -> None:
    block = last_norm_zeroed(TwoConvolutions(4, channels))
    identity = features(4).abs()  # which the last activation leaves as it is

    torch.testing.assert_close(block(features(4, seed=1), identity=identity), identity[:, order])


def test_without_the_residual_sum_the_identity_says_nothing() -> None:
    block = TwoConvolutions(4, 4, residual=False)

    torch.testing.assert_close(
        block(features(4), identity=features(4)), block(features(4), identity=features(4, seed=1))
    )


@pytest.mark.parametrize(
    ("settings", "convolution", "shortcut"),
    [
        ({"shortcut": False}, 8, 0),
        ({"shortcut": False, "join": "beside"}, 8, 0),
        ({"shortcut": True}, 4, 4),
        ({"shortcut": True, "join": "beside"}, 8, 4),
    ],
    ids=str,
)
def test_the_way_down_is_a_convolution_and_its_shortcut(settings: dict, convolution: int, shortcut: int) -> None:
    down = Downsampling(3, 8, **settings)
    parts = [F.conv3d(features(3), down.convolution.weight, stride=2)]
    if down.shortcut is not None:
        parts.append(F.conv3d(features(3)[:, :, ::2, ::2, ::2], down.shortcut.weight))  # of every other voxel
    expected = F.prelu(F.instance_norm(torch.cat(parts, dim=1)), down.normalized[1].weight)

    assert [part.shape[1] for part in parts] == [width for width in (convolution, shortcut) if width]
    torch.testing.assert_close(down(features(3)), expected)
    assert down(features(3)).shape == (2, convolution + shortcut, 2, 3, 4)


def test_an_odd_number_of_channels_is_split_into_a_larger_and_a_smaller_half() -> None:
    assert channels_below(23, shortcut=True, join="split") == 23
    assert channels_below(23, shortcut=True, join="beside") == 34
    assert Downsampling(2, 23)(features(2)).shape[1] == 23
    assert Downsampling(2, 23, join="beside")(features(2)).shape[1] == 34


def test_another_way_to_join_is_refused() -> None:
    with pytest.raises(InputError, match=r"model\.shortcut_join=sum is unknown: choose one of split, beside\."):
        Downsampling(2, 4, join="sum")


def test_what_a_stride_divides_is_multiplied_again() -> None:
    coarse = strided(2, 3, (1, 2, 2))(features(2))

    assert coarse.shape == (2, 3, 4, 3, 4)
    assert upsampling(3, 5, (1, 2, 2))(coarse).shape == (2, 5, 4, 6, 8)
