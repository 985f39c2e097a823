import pytest
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock

from kidney_lab.networks.residual_block import ResidualBlock


def by_hand(dilation):
    """Block of one channel: a sum over the 3x3 neighbours at the dilation, then the centre alone; no normalization."""
    block = ResidualBlock(2, 1, 1, dilation=dilation, norm="batch").eval()
    for convolution in (block.conv1, block.conv2):
        convolution.adn.N.eps = 0.0
        nn.init.zeros_(convolution.conv.weight)
    nn.init.ones_(block.conv1.conv.weight)
    block.conv2.conv.weight.data[0, 0, 1, 1] = 1
    return block


@pytest.mark.parametrize("dilation", [1, 2, 4])
def test_a_point_spreads_to_its_neighbours_at_the_dilation_and_is_added_to_itself(dilation):
    image = torch.zeros(1, 1, 11, 11)
    image[0, 0, 5, 5] = 3
    expected = torch.zeros(11, 11)
    expected[5 - dilation : 6 + dilation : dilation, 5 - dilation : 6 + dilation : dilation] = 3
    expected[5, 5] = 6  # branch and shortcut

    assert torch.equal(by_hand(dilation)(image)[0, 0], expected)


def test_activation_follows_the_sum():
    image = torch.full((1, 1, 4, 4), -1.0)

    assert torch.count_nonzero(by_hand(1)(image)) == 0


@pytest.mark.parametrize("in_channels", [3, 6])
def test_plain_block_equals_torchvision_s(in_channels):
    torch.manual_seed(0)
    ours = ResidualBlock(2, in_channels, 6)
    downsample = nn.Sequential(nn.Conv2d(3, 6, 1, bias=False), nn.BatchNorm2d(6)) if in_channels == 3 else None
    theirs = BasicBlock(in_channels, 6, downsample=downsample)
    pairs = [
        (theirs.conv1, ours.conv1.conv),
        (theirs.bn1, ours.conv1.adn.N),
        (theirs.conv2, ours.conv2.conv),
        (theirs.bn2, ours.conv2.adn.N),
    ]
    if downsample is not None:
        pairs += [(downsample[0], ours.shortcut.conv), (downsample[1], ours.shortcut.adn.N)]
    for target, source in pairs:
        target.load_state_dict(source.state_dict())
    image = torch.randn(2, in_channels, 8, 8)

    torch.testing.assert_close(ours(image), theirs(image))
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())


def test_squeeze_and_excitation_with_weights_of_one_is_the_identity():
    torch.manual_seed(0)
    attentive, plain = ResidualBlock(2, 4, 4, se_ratio=2), ResidualBlock(2, 4, 4)
    plain.load_state_dict(attentive.state_dict(), strict=False)
    image = torch.randn(2, 4, 8, 8)
    assert not torch.allclose(attentive(image), plain(image))

    last = attentive.attention.fc[2]
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, 100)  # its sigmoid is 1 in float32

    assert torch.equal(attentive(image), plain(image))


def test_squeeze_and_excitation_scales_the_branch_by_hand_computed_weights():
    # shape (1, 2, 1, 2): channel means 2 and 6, hidden unit 2 + 6 = 8, excitation (log 3, -log 3) * 8 / 8
    block = ResidualBlock(2, 2, 2, se_ratio=2)
    first, last = block.attention.fc[0], block.attention.fc[2]
    first.weight.data = torch.tensor([[1.0, 1.0]])
    last.weight.data = torch.log(torch.tensor([[3.0], [1 / 3]])) / 8
    for layer in (first, last):
        nn.init.zeros_(layer.bias)

    scaled = block.attention(torch.tensor([[[[1.0, 3.0]], [[4.0, 8.0]]]]))

    torch.testing.assert_close(scaled, torch.tensor([[[[0.75, 2.25]], [[1.0, 2.0]]]]))  # sigmoids 3/4 and 1/4


def test_in_three_dimensions_kernels_of_one_slice_give_every_slice_what_two_dimensions_give():
    settings = {"dilation": 2, "se_ratio": 1, "norm": "instance"}
    flat, deep = ResidualBlock(2, 1, 2, **settings), ResidualBlock(3, 1, 2, **settings)
    state = flat.state_dict()
    for name, weight in deep.state_dict().items():
        if weight.ndim == 5:
            middle = torch.zeros_like(weight)
            middle[:, :, weight.shape[2] // 2] = state[name]
            state[name] = middle
    deep.load_state_dict(state)
    image = torch.randn(1, 1, 8, 10, generator=torch.Generator().manual_seed(0))

    stacked = deep(image[:, :, None].expand(-1, -1, 6, -1, -1))

    torch.testing.assert_close(stacked, flat(image)[:, :, None].expand(-1, -1, 6, -1, -1))
