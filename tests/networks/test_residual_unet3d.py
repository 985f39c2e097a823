from itertools import pairwise

import pytest
import torch
from monai.networks.nets import DynUNet
from torch import nn
from torch.nn import functional as F

from kidney_lab.errors import InputError
from kidney_lab.methods.cost import count_flops, count_parameters
from kidney_lab.networks.residual_unet3d import ResidualUNet3d

FULL = (32, 64, 128, 256, 320, 320)
SMALL = {"in_channels": 2, "out_channels": 3, "channels": (4, 6, 8), "strides": (2, 2)}
SHAPE = (2, 2, 8, 12, 16)


def small(seed: int = 0, **changes) -> ResidualUNet3d:
    torch.manual_seed(seed)
    return ResidualUNet3d(**(SMALL | changes))


def full(**changes) -> ResidualUNet3d:
    with torch.device("meta"):
        return ResidualUNet3d(1, 3, FULL, [2] * 5, **changes)


def gradients(network: nn.Module, x: torch.Tensor, *, level: int | None = None) -> dict[str, torch.Tensor]:
    """Gradients of a loss on one level's logits, or on all."""
    network.zero_grad()
    logits = network(x)
    chosen = logits if isinstance(logits, list) else [logits]
    sum(F.softplus(out).mean() for out in (chosen if level is None else chosen[level : level + 1])).backward()
    return {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}


def test_six_levels_give_five_logits_finest_first():
    logits = full()(torch.empty(2, 1, 64, 96, 128, device="meta"))

    assert [tuple(out.shape) for out in logits] == [
        (2, 3, 64, 96, 128),
        (2, 3, 32, 48, 64),
        (2, 3, 16, 24, 32),
        (2, 3, 8, 12, 16),
        (2, 3, 4, 6, 8),
    ]


def test_in_evaluation_the_finest_logits_come_alone_and_no_lower_head_is_computed():
    network = small()
    computed = []
    for level, head in enumerate(network.heads):
        head.register_forward_hook(lambda *_, level=level: computed.append(level))
    x = torch.randn(SHAPE)

    finest = network(x)[0]
    assert sorted(computed) == [0, 1]
    computed.clear()
    alone = network.eval()(x)

    assert computed == [0]
    torch.testing.assert_close(alone, finest)


def test_without_deep_supervision_the_other_weights_keep_their_names_and_give_the_same():
    deep, single = small(), small(seed=1, deep_supervision=False)
    x = torch.randn(SHAPE)
    left_out = deep.state_dict().keys() - single.state_dict().keys()
    assert left_out == {"heads.1.weight", "heads.1.bias"}

    single.load_state_dict({name: value for name, value in deep.state_dict().items() if name not in left_out})

    assert isinstance(single(x), torch.Tensor)
    torch.testing.assert_close(single(x), deep(x)[0])


def test_a_loss_on_the_finest_level_alone_equals_no_deep_supervision():
    deep, single = small(), small(seed=1, deep_supervision=False)
    single.load_state_dict({name: deep.state_dict()[name] for name in single.state_dict()})
    x = torch.randn(SHAPE)

    only_finest, without = gradients(deep, x, level=0), gradients(single, x)

    assert only_finest.keys() == without.keys()
    for name, gradient in without.items():
        torch.testing.assert_close(only_finest[name], gradient)


def test_without_residuals_only_projections_are_missing():
    residual, plain = small().state_dict(), small(residual=False).state_dict()

    assert plain.keys() < residual.keys()
    assert all(".shortcut." in name for name in residual.keys() - plain.keys())
    assert {name: value.shape for name, value in plain.items()} == {name: residual[name].shape for name in plain}


def test_the_decoder_is_residual_too():
    network = small()

    for stage in (*network.encoder, *(up.block for up in network.decoder)):
        assert isinstance(stage.shortcut, nn.Sequential)  # every block changes its number of channels here


def plain_parameters(channels: tuple[int, ...], in_channels: int, out_channels: int) -> int:
    """Weights of the plain network with kernels of 3 and strides of 2, by hand."""
    encoder = sum(
        27 * (a * b + b * b) + 2 * 2 * b for a, b in zip((in_channels, *channels[:-1]), channels, strict=True)
    )
    up = sum(8 * coarse * fine + 2 * fine for fine, coarse in pairwise(channels))
    decoder = sum(27 * (2 * c * c + c * c) + 2 * 2 * c for c in channels[:-1])
    heads = sum(c * out_channels + out_channels for c in channels[:-1])
    return encoder + up + decoder + heads


def projections(channels: tuple[int, ...], in_channels: int) -> int:
    """Weights that residual connections add to encoder blocks and to decoder blocks."""
    encoder = sum(a * b + 2 * b for a, b in zip((in_channels, *channels[:-1]), channels, strict=True))
    return encoder + sum(2 * c * c + 2 * c for c in channels[:-1])


def test_the_full_presets_parameters_are_those_counted_by_hand():
    assert count_parameters(full(residual=False)) == plain_parameters(FULL, 1, 3) == 31_193_359
    assert count_parameters(full()) == plain_parameters(FULL, 1, 3) + projections(FULL, 1)


def dyn_unet(**changes) -> DynUNet:
    options = {"norm_name": ("instance", {"affine": True}), "deep_supervision": True} | changes
    levels = len(options["filters"])
    return DynUNet(
        3,
        kernel_size=[3] * levels,
        strides=[1] + [2] * (levels - 1),
        upsample_kernel_size=[2] * (levels - 1),
        **options,
    )


def test_the_full_preset_has_dynunets_parameters_and_the_norms_after_transposed_convolutions():
    with torch.device("meta"):
        theirs = dyn_unet(in_channels=1, out_channels=3, filters=FULL, deep_supr_num=4)

    # DynUNet registers its heads twice, once in the skip layers; parameters() counts them once
    assert count_parameters(full(residual=False)) == count_parameters(theirs) + sum(2 * c for c in FULL[:-1])


def test_without_the_norm_after_transposed_convolutions_the_plain_network_is_dynunet():
    channels = (4, 6, 8, 10)
    torch.manual_seed(0)
    theirs = dyn_unet(in_channels=2, out_channels=3, filters=channels, deep_supr_num=2)
    ours = ResidualUNet3d(2, 3, channels, [2, 2, 2], residual=False)
    for up in ours.decoder:
        up.upsample = up.upsample[:1]
    copies = {
        **{
            f"encoder.{k}": block
            for k, block in enumerate([theirs.input_block, *theirs.downsamples, theirs.bottleneck])
        },
        **{f"decoder.{k}.block": up.conv_block for k, up in enumerate(reversed(theirs.upsamples))},
    }
    for name, block in copies.items():
        mine = ours.get_submodule(name)
        for k in range(2):
            mine.convs[k].load_state_dict(getattr(block, f"conv{k + 1}").conv.state_dict())
            mine.norms[k].load_state_dict(getattr(block, f"norm{k + 1}").state_dict())
    for up, their_up in zip(ours.decoder, reversed(theirs.upsamples), strict=True):
        up.upsample[0].load_state_dict(their_up.transp_conv.conv.state_dict())
    for head, their_head in zip(ours.heads, [theirs.output_block, *theirs.deep_supervision_heads], strict=True):
        head.load_state_dict(their_head.conv.conv.state_dict())
    x = torch.randn(1, 2, 16, 16, 24)

    expected = theirs(x)  # (B, level, C, D, H, W), lower levels enlarged

    for k, out in enumerate(ours(x)):
        torch.testing.assert_close(F.interpolate(out, x.shape[2:]), expected[:, k])


@pytest.mark.parametrize("checkpointing", [True, False])
@pytest.mark.parametrize("residual", [True, False])
def test_a_gradient_reaches_every_weight(residual, checkpointing):
    network = small(residual=residual, checkpointing=checkpointing)

    reached = gradients(network, torch.randn(SHAPE))

    assert reached.keys() == dict(network.named_parameters()).keys()
    assert all(gradient.abs().max() > 1e-6 for gradient in reached.values())


def test_checkpointing_keeps_fewer_features_and_gives_the_same_gradients():
    x = torch.randn(SHAPE)
    results, kept = [], []
    for checkpointing in (False, True):
        saved = {}

        def note(tensor, saved=saved):
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        network = small(checkpointing=checkpointing)
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            network(x)
        results.append(gradients(network, x))
        kept.append(sum(saved.values()))

    assert kept[1] < 0.7 * kept[0]
    for name, gradient in results[0].items():
        torch.testing.assert_close(results[1][name], gradient)


def test_anisotropic_strides_and_kernels_per_level():
    network = small(strides=[(1, 2, 2), 2], kernel_size=[(1, 3, 3), (3, 3, 3), (3, 3, 3)])

    fine, coarse = network(torch.randn(1, 2, 6, 16, 20))

    assert fine.shape[2:] == (6, 16, 20)
    assert coarse.shape[2:] == (6, 8, 10)
    assert network.downsampling == (2, 4, 4)
    assert network.encoder[0].convs[1].weight.shape[2:] == (1, 3, 3)
    assert network.decoder[0].block.convs[0].weight.shape[2:] == (1, 3, 3)
    assert network.decoder[0].upsample[0].weight.shape[2:] == (1, 2, 2)


def test_three_kernel_sizes_are_those_of_the_axes():
    network = small(kernel_size=(1, 3, 5))

    assert {tuple(conv.weight.shape[2:]) for stage in network.encoder for conv in stage.convs} == {(1, 3, 5)}


def test_more_convolutions_per_stage():
    network = small(n_conv_per_stage=3)

    assert [len(stage.convs) for stage in network.encoder] == [3, 3, 3]
    assert network(torch.randn(SHAPE))[0].shape == (2, 3, 8, 12, 16)


def test_it_runs_in_bfloat16_and_near_what_float32_gives():
    network = small()
    x = torch.randn(SHAPE)
    exact = network(x)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = network(x)
        sum(out.float().square().mean() for out in rounded).backward()

    assert all(out.dtype == torch.bfloat16 for out in rounded)
    assert all(parameter.grad.dtype == torch.float32 for parameter in network.parameters())
    for out, reference in zip(rounded, exact, strict=True):
        assert (out.float() - reference).norm() < 0.05 * reference.norm()


def test_its_operations_can_be_counted_without_memory():
    voxels = 128**3
    finest = 2 * voxels * 27 * (1 * 32 + 32 * 32 + 64 * 32 + 32 * 32)  # convolutions of level 0 alone

    assert finest < count_flops(full(residual=False), (1, 1, 128, 128, 128)) < 3 * finest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"in_channels": 0}, r"in_channels=0 is not possible: write a whole number from 1 on\.$"),
        ({"n_conv_per_stage": 1.5}, r"n_conv_per_stage=1\.5 is not possible"),
        ({"channels": (4,), "strides": ()}, r"channels=\[4\] has too few levels"),
        ({"channels": (4, 0, 8)}, r"channels=0 is not possible"),
        ({"strides": (2, 2, 2)}, r"3 levels of channels take 2 strides, not the 3 of \[2, 2, 2\]"),
        ({"strides": (2, (2, 2))}, r"strides holds \(2, 2\): write a whole number from 1 on, or three in the order"),
        ({"strides": (2, 0)}, r"strides holds 0"),
        ({"kernel_size": 2}, r"kernel_size=2 is even, which would shift the features: write odd numbers"),
        ({"kernel_size": (3, 3)}, r"kernel_size=\(3, 3\) has 2 entries for 3 levels"),
        ({"kernel_size": [3, 3, (1, 3)]}, r"kernel_size holds \(1, 3\)"),
        ({"in_channels": True}, r"in_channels=True is not possible"),
        ({"residual": "no"}, r"^model\.residual=no is no switch: give true or false\.$"),
        ({"deep_supervision": "off"}, r"^model\.deep_supervision=off is no switch"),
        ({"checkpointing": 1}, r"^model\.checkpointing=1 is no switch"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        small(**changes)


def test_a_size_that_the_strides_do_not_divide_is_refused():
    with pytest.raises(
        InputError, match=r"do not divide a patch of 8 x 10 x 16 voxels: make its size a multiple of 4 x"
    ):
        small()(torch.randn(1, 2, 8, 10, 16))


def test_a_patch_that_leaves_one_voxel_is_refused():
    with pytest.raises(InputError, match=r"4 x 4 x 4 voxels leaves a single voxel at the lowest level"):
        small()(torch.randn(1, 2, 4, 4, 4))
