import pytest
import torch
from monai.networks.blocks.dynunet_block import UnetBasicBlock, UnetResBlock
from torch import nn
from torch.nn import functional as F

from kidney_lab.networks.blocks import ConvBlock, UpBlock, initialize_he


def with_random_norms(module: nn.Module) -> nn.Module:
    """Scales and shifts that are not 1 and 0, so that their place matters."""
    for norm in module.modules():
        if isinstance(norm, nn.InstanceNorm3d):
            nn.init.uniform_(norm.weight, 0.5, 2)
            nn.init.uniform_(norm.bias, -1, 1)
    return module


def branch(block: ConvBlock, x: torch.Tensor) -> torch.Tensor:
    """conv-norm-act-conv-norm, written out."""
    hidden = F.leaky_relu(block.norms[0](block.convs[0](x)), 0.01)
    return block.norms[1](block.convs[1](hidden))


def test_a_residual_block_is_the_identity_plus_its_branch():
    torch.manual_seed(0)
    block = with_random_norms(ConvBlock(4, 4))
    x = torch.randn(2, 4, 5, 6, 7)

    torch.testing.assert_close(block(x), F.leaky_relu(x + branch(block, x), 0.01))


def test_where_the_shape_changes_a_normalised_projection_takes_the_place_of_the_identity():
    torch.manual_seed(0)
    block = with_random_norms(ConvBlock(3, 5, stride=(1, 2, 2)))
    x = torch.randn(2, 3, 4, 6, 8)
    projection, norm = block.shortcut

    expected = F.leaky_relu(norm(F.conv3d(x, projection.weight, stride=(1, 2, 2))) + branch(block, x), 0.01)

    torch.testing.assert_close(block(x), expected)
    assert projection.weight.shape == (5, 3, 1, 1, 1)


@pytest.mark.parametrize("in_channels", [4, 3])
def test_a_block_without_residual_is_plain_and_has_the_same_weights(in_channels):
    torch.manual_seed(0)
    residual, plain = ConvBlock(in_channels, 4), ConvBlock(in_channels, 4, residual=False)
    weights = {name: value for name, value in residual.state_dict().items() if not name.startswith("shortcut")}
    plain.load_state_dict(weights)
    x = torch.randn(2, in_channels, 5, 6, 7)

    torch.testing.assert_close(plain(x), F.leaky_relu(branch(residual, x), 0.01))
    assert not torch.allclose(plain(x), residual(x))


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize(("in_channels", "stride"), [(4, (1, 1, 1)), (3, (1, 1, 1)), (3, (1, 2, 2)), (3, (2, 2, 2))])
def test_the_block_agrees_with_monai(residual, in_channels, stride):
    torch.manual_seed(0)
    act, norm = ("leakyrelu", {"negative_slope": 0.01}), ("instance", {"affine": True})
    theirs = (UnetResBlock if residual else UnetBasicBlock)(3, in_channels, 4, 3, stride, norm, act)
    with_random_norms(theirs)
    ours = ConvBlock(in_channels, 4, stride=stride, residual=residual)
    # MONAI names a block's parts conv1, conv2, conv3, norm1, norm2, norm3; the third are the projection
    theirs_by_name, target = theirs.state_dict(), {}
    for name in ours.state_dict():
        part, index, *weight = name.split(".")
        if part == "shortcut":
            target[name] = theirs_by_name["conv3.conv.weight" if index == "0" else f"norm3.{weight[-1]}"]
        else:
            infix = ".conv" if part == "convs" else ""
            target[name] = theirs_by_name[f"{part[:-1]}{int(index) + 1}{infix}.{weight[-1]}"]
    ours.load_state_dict(target)
    x = torch.randn(2, in_channels, 4, 6, 8)

    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("n_conv", [1, 2, 3])
def test_a_block_has_as_many_convolutions_as_asked(n_conv):
    block = ConvBlock(2, 4, n_conv=n_conv, residual=False)
    x = torch.randn(1, 2, 4, 4, 4)
    expected = x
    for conv, norm in zip(block.convs, block.norms, strict=True):
        expected = F.leaky_relu(norm(conv(expected)), 0.01)

    assert len(block.convs) == n_conv
    torch.testing.assert_close(block(x), expected)


def test_a_block_leaves_its_input_as_it_was():
    x = torch.randn(1, 4, 4, 4, 4)
    before = x.clone()

    ConvBlock(4, 4)(x)
    UpBlock(4, 4, stride=(1, 1, 1))(x, x)

    assert torch.equal(x, before)


def test_a_step_up_is_normalised_then_joined_with_the_skip():
    torch.manual_seed(0)
    up = with_random_norms(UpBlock(6, 4, stride=(1, 2, 2)))
    x, skip = torch.randn(1, 6, 4, 3, 5), torch.randn(1, 4, 4, 6, 10)
    transposed, norm, _ = up.upsample
    upsampled = F.leaky_relu(norm(F.conv_transpose3d(x, transposed.weight, stride=(1, 2, 2))), 0.01)

    torch.testing.assert_close(up(x, skip), up.block(torch.cat([upsampled, skip], dim=1)))


def test_a_skip_of_another_size_is_refused():
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
        UpBlock(6, 4, stride=(2, 2, 2))(torch.randn(1, 6, 3, 3, 3), torch.randn(1, 4, 5, 5, 5))


def test_weights_are_drawn_with_the_deviation_that_keeps_the_variance():
    torch.manual_seed(0)
    conv = nn.Conv3d(32, 64, 3)
    conv.apply(initialize_he)

    assert conv.weight.std().item() == pytest.approx((2 / (1 + 0.01**2) / (32 * 27)) ** 0.5, rel=0.02)
    assert not conv.bias.any()
