import copy

import pytest
import torch
from monai.losses import DeepSupervisionLoss, DiceCELoss
from monai.networks.nets import DynUNet

from kidney_lab.errors import InputError
from kidney_lab.networks.plain_unet3d import PlainUNet3d

SMALL = {"in_channels": 1, "out_channels": 3, "channels": [4, 6, 8, 8], "strides": [2, 2, (1, 2, 2)]}


def parameters(network):
    return sum(weight.numel() for weight in network.parameters())


def test_it_is_dynunet_with_the_same_weights():
    torch.manual_seed(0)
    ours = PlainUNet3d(**SMALL, supervised_levels=3)
    strides = [1, 2, 2, (1, 2, 2)]
    theirs = DynUNet(
        3, 1, 3, [3] * 4, strides, strides[1:], [4, 6, 8, 8], deep_supervision=True, deep_supr_num=2, trans_bias=True
    )
    groups = [
        (theirs.input_block, ours.encoder[0]),
        *zip(theirs.downsamples, ours.encoder[1:-1], strict=True),
        (theirs.bottleneck, ours.encoder[-1]),
        *zip(reversed(theirs.upsamples), ours.decoder, strict=True),
        *zip((theirs.output_block, *theirs.deep_supervision_heads), ours.heads, strict=True),
    ]
    for target, source in groups:
        target.load_state_dict(source.state_dict())
    image = torch.randn(2, 1, 16, 24, 32)

    assert parameters(ours) == parameters(theirs)
    torch.testing.assert_close(ours.eval()(image), theirs.eval()(image))
    levels = ours.train()(image)
    stacked = theirs.train()(image).unbind(dim=1)  # DynUNet enlarges the lower levels to the finest's size
    for level, enlarged in zip(levels, stacked, strict=True):
        torch.testing.assert_close(torch.nn.functional.interpolate(level, (16, 24, 32)), enlarged)


@pytest.mark.parametrize(
    ("channels", "kernels", "strides", "of_nnunet"),
    [
        ([32, 64, 128, 256, 320, 320], 3, [2, 2, 2, 2, 2], 31_192_559),
        ([32, 64, 128, 256], [(1, 3, 3), (1, 3, 3), 3, 3], [(1, 2, 2), 2, 2], 5_187_497),
    ],
)
def test_it_has_the_weights_of_nnunet_s_plainconvunet(channels, kernels, strides, of_nnunet):
    """Of dynamic_network_architectures 0.4.4, one channel, three labels, all heads.

    Without the biases of its convolutions, which the InstanceNorm behind them cancels.
    """
    with torch.device("meta"):
        network = PlainUNet3d(1, 3, channels, strides, kernel_size=kernels, supervised_levels=len(channels) - 1)

    assert parameters(network) == of_nnunet


def test_a_decoder_block_has_the_kernel_of_its_level():
    with torch.device("meta"):
        network = PlainUNet3d(1, 2, [4, 8, 8], [(1, 2, 2), 2], kernel_size=[(1, 3, 3), 3, 3])

    kernels = [block.conv_block.conv1.conv.kernel_size for block in network.decoder]
    assert kernels == [(1, 3, 3), (3, 3, 3)]
    assert network.encoder[0].conv1.conv.kernel_size == (1, 3, 3)
    assert network(torch.empty(1, 1, 2, 8, 8, device="meta")).shape == (1, 2, 2, 8, 8)


def test_every_supervised_level_keeps_its_size_in_training():
    network = PlainUNet3d(**SMALL, supervised_levels=3)
    image = torch.randn(1, 1, 16, 16, 16)

    sizes = [tuple(level.shape[2:]) for level in network.train()(image)]

    assert sizes == [(16, 16, 16), (8, 8, 8), (4, 4, 4)]
    assert network.eval()(image).shape == (1, 3, 16, 16, 16)


def test_without_deep_supervision_the_other_weights_keep_their_names_and_the_output():
    with_heads, without = PlainUNet3d(**SMALL, supervised_levels=3), PlainUNet3d(**SMALL)
    missing, unexpected = without.load_state_dict(with_heads.state_dict(), strict=False)
    image = torch.randn(1, 1, 16, 16, 16)

    assert not missing
    assert all(name.startswith(("heads.1", "heads.2")) for name in unexpected)
    torch.testing.assert_close(without.train()(image), with_heads.train()(image)[0])


def test_a_training_step_reaches_every_weight_and_leaves_the_network_copyable():
    network = PlainUNet3d(**SMALL, supervised_levels=3).train()
    loss = DeepSupervisionLoss(DiceCELoss(softmax=True), weights=[4 / 7, 2 / 7, 1 / 7])
    target = torch.nn.functional.one_hot(torch.randint(3, (2, 16, 16, 16)), 3).movedim(-1, 1).float()

    loss(network(torch.randn(2, 1, 16, 16, 16)), target).backward()

    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in network.parameters())
    assert parameters(copy.deepcopy(network)) == parameters(network)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"strides": [2, 2]}, "The network has 4 channels, 2 strides and 4 kernels, but takes one of each"),
        ({"kernel_size": [3, 3, 3]}, "The network has 4 channels, 3 strides and 3 kernels"),
        ({"channels": [4], "strides": []}, "The network has 1 channels, 0 strides and 1 kernels"),
        ({"supervised_levels": 4}, "model.supervised_levels=4 is not possible with 4 levels: choose 1 .* to 3"),
        ({"supervised_levels": 0}, "model.supervised_levels=0 is not possible"),
        ({"supervised_levels": True}, "model.supervised_levels=True is not possible"),
        ({"supervised_levels": "all"}, "model.supervised_levels=all is not possible"),
    ],
)
def test_numbers_of_levels_that_do_not_agree_are_refused(change, sentence):
    with pytest.raises(InputError, match=sentence):
        PlainUNet3d(**{**SMALL, **change})
