import re
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from kidney_lab.errors import InputError
from kidney_lab.networks.attention_vnet import AttentionVNet, SegmentationAndContour
from kidney_lab.networks.attention_vnet_parameters import SWITCHES

OFF = dict.fromkeys(SWITCHES, False)
CHANNELS = (4, 8, 16)
SETTINGS: dict[str, Any] = {"in_channels": 1, "out_channels": 3, "channels": CHANNELS}


def build(*, seed: int = 0, **settings: Any) -> AttentionVNet:
    torch.manual_seed(seed)
    return AttentionVNet(**(SETTINGS | OFF | settings))


def image(channels: int = 1, *, seed: int = 0) -> Tensor:
    return torch.randn(2, channels, 8, 16, 24, generator=torch.Generator().manual_seed(seed))


def literal_vnet(weights: dict[str, Tensor], x: Tensor, *, residual: bool, levels: int, stem: bool) -> Tensor:
    """Plain V-Net by torch functions: two 3x3x3 convolutions a block, stride 2 down and up, concatenated skips."""

    def normalized(x: Tensor, norm: str) -> Tensor:
        return F.instance_norm(x, weight=weights[f"{norm}.weight"], bias=weights[f"{norm}.bias"])

    def activated(x: Tensor, name: str) -> Tensor:
        return F.prelu(x, weights[f"{name}.weight"])

    def block(x: Tensor, identity: Tensor, name: str) -> Tensor:
        inner = f"{name}.convolutions"
        y = F.conv3d(x, weights[f"{inner}.0.weight"], padding=1)
        y = activated(normalized(y, f"{inner}.1"), f"{inner}.2")
        y = normalized(F.conv3d(y, weights[f"{inner}.3.weight"], padding=1), f"{inner}.4")
        if residual:
            y = y + identity.repeat(1, y.shape[1] // identity.shape[1], 1, 1, 1)
        return activated(y, f"{name}.activation")

    def strided(x: Tensor, name: str, stride: tuple[int, int, int], convolve: Any) -> Tensor:
        return activated(normalized(convolve(x, weights[f"{name}.0.weight"], stride=stride), f"{name}.1"), f"{name}.2")

    if stem:
        x = strided(x, "stem", (1, 2, 2), F.conv3d)
    skips = []
    for level in range(levels):
        skips.append(block(x, x, f"encoder.{level}"))
        x = F.conv3d(skips[-1], weights[f"down.{level}.convolution.weight"], stride=2)
        x = activated(normalized(x, f"down.{level}.normalized.0"), f"down.{level}.normalized.1")
    x = block(x, x, "bottom")
    for level in reversed(range(levels)):
        up = strided(x, f"up.{level}", (2, 2, 2), F.conv_transpose3d)
        x = block(torch.cat([up, skips[level]], dim=1), up, f"decoder.{level}")
    if stem:
        x = strided(x, "unstem", (1, 2, 2), F.conv_transpose3d)
    return F.conv3d(x, weights["head.weight"], weights["head.bias"])


@pytest.mark.parametrize("stem", [True, False])
@pytest.mark.parametrize("residual", [True, False])
def test_with_every_part_off_it_is_a_plain_vnet(stem: bool, residual: bool) -> None:
    network = build(residual=residual, stem_stride=(1, 2, 2) if stem else (1, 1, 1))
    weights = network.state_dict()
    for name in weights:  # norms and slopes of their own, so that a mix-up shows
        weights[name] = weights[name] + 0.1 * torch.randn_like(weights[name])
    network.load_state_dict(weights)
    expected = literal_vnet(weights, image(), residual=residual, levels=2, stem=stem)
    torch.testing.assert_close(network(image()), expected, rtol=1e-4, atol=1e-4)


EXTRA_KEYS = {
    "shortcut": {f"down.{level}.shortcut.weight" for level in range(2)},
    "channel_attention": {
        f"attention.{level}.channel.fc.{layer}.{kind}"
        for level in range(2)
        for layer in (0, 2)
        for kind in ("weight", "bias")
    },
    "spatial_attention": {
        f"attention.{level}.spatial.conv.{kind}" for level in range(2) for kind in ("weight", "bias")
    },
    "fusion": {
        f"fusion.{stage}.reduce.{level}.{kind}"
        for stage in range(2)
        for level in range(2)
        for kind in ("weight", "bias")
    }
    | {f"fusion.{stage}.merge.weight" for stage in range(2)},
    "boundary_head": {"boundary_head.weight", "boundary_head.bias"},
}


@pytest.mark.parametrize("switch", SWITCHES)
def test_a_part_adds_its_own_weights_and_keeps_the_names_of_the_rest(switch: str) -> None:
    plain, other = build().state_dict(), build(**{switch: True}).state_dict()
    assert set(other) - set(plain) == EXTRA_KEYS[switch]
    assert set(plain) <= set(other)


@pytest.mark.parametrize("switch", [switch for switch in SWITCHES if switch != "shortcut"])
def test_the_plain_weights_of_one_seed_are_the_same_whichever_part_is_on(switch: str) -> None:
    plain, other = build(seed=3).state_dict(), build(seed=3, **{switch: True}).state_dict()
    assert all(torch.equal(other[name], value) for name, value in plain.items())


@pytest.mark.parametrize(
    "settings",
    [
        *({switch: True} for switch in SWITCHES),
        {"shortcut": True, "shortcut_join": "beside"},
        dict.fromkeys(SWITCHES, True),
        dict.fromkeys(SWITCHES, True) | {"attention_order": "parallel", "residual": False, "stem_stride": (1, 1, 1)},
        {"fusion": True, "mi": "histogram", "mi_normalize": "none", "mi_detach": False},
        {"stem_stride": (1, 1, 1), "in_channels": 3},
    ],
    ids=str,
)
def test_logits_are_of_the_image_size_and_gradients_reach_every_weight(settings: dict[str, Any]) -> None:
    network = build(**settings)
    for name, parameter in network.named_parameters():
        if name.endswith("fc.0.bias"):
            torch.nn.init.ones_(parameter)  # else a hidden ReLU of the few here may start without a gradient
    output = network(image(settings.get("in_channels", 1)))
    heads = output if isinstance(output, SegmentationAndContour) else (output,)
    assert [head.shape[1:] for head in heads] == [(3, 8, 16, 24), (1, 8, 16, 24)][: len(heads)]
    sum(head.square().sum() for head in heads).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []


@pytest.mark.parametrize("mi", ["gaussian", "histogram"])
@pytest.mark.parametrize("mi_normalize", ["softmax", "sum", "none"])
def test_a_patch_of_zeros_gives_finite_gradients_through_the_weights_of_fusion(mi: str, mi_normalize: str) -> None:
    network = build(fusion=True, mi=mi, mi_normalize=mi_normalize, mi_detach=False)
    logits = network(torch.stack([torch.zeros(1, 8, 16, 24), image()[0]]))
    logits.square().sum().backward()
    assert torch.isfinite(logits).all()
    assert [name for name, p in network.named_parameters() if not torch.isfinite(p.grad).all()] == []


def identity_when_neutral(network: AttentionVNet, part: str) -> None:
    """Makes the attention of a network weigh everything with 1."""
    for name, parameter in network.named_parameters():
        if f".{part}." in name:
            torch.nn.init.zeros_(parameter)
            if name.endswith(("fc.2.bias", "conv.bias")):
                torch.nn.init.constant_(parameter, 20.0)


@pytest.mark.parametrize("part", ["channel", "spatial"])
@pytest.mark.parametrize("order", ["sequential", "parallel"])
def test_attention_that_weighs_everything_with_one_is_no_attention(part: str, order: str) -> None:
    network = build(**{f"{part}_attention": True}, attention_order=order)
    identity_when_neutral(network, part)
    torch.testing.assert_close(network(image()), build()(image()), rtol=1e-4, atol=1e-5)


def test_a_fusion_that_lets_through_one_level_is_the_plain_skip_of_it() -> None:
    # Doubled features reduced to their halves: the stage's own level comes through unchanged, the others not at all.
    network = build(fusion=True, channels=(4, 8), mi_normalize="softmax")
    plain = build(channels=(4, 8))
    fusion = network.fusion[0]
    with torch.no_grad():
        fusion.reduce[0].weight.copy_(torch.eye(2, 4).view(2, 4, 1, 1, 1))
        fusion.reduce[0].bias.zero_()
        fusion.merge.weight.copy_(torch.eye(4, 2).view(4, 2, 1, 1, 1))
        for decoder in (network.decoder[0], plain.decoder[0]):
            decoder.convolutions[0].weight[:, 6:].zero_()  # the two channels that the reduction drops
    torch.testing.assert_close(network(image()), plain(image()), rtol=1e-4, atol=1e-5)


def test_the_contour_is_predicted_in_training_alone_and_changes_no_logits() -> None:
    network = build(boundary_head=True)
    trained, (logits, contour) = build()(image()), network(image())
    torch.testing.assert_close(logits, trained)
    assert contour.shape == (2, 1, 8, 16, 24)
    torch.testing.assert_close(network.eval()(image()), trained)


def test_parallel_attention_differs_from_sequential() -> None:
    both = {"channel_attention": True, "spatial_attention": True}
    one, other = (build(**both, attention_order=order)(image()) for order in ("sequential", "parallel"))
    assert (one - other).abs().max() > 1e-2


def test_the_feature_sizes_of_section_3_2() -> None:
    with torch.device("meta"):
        network = AttentionVNet(in_channels=1, out_channels=3)
        patch = torch.empty(1, 1, 64, 256, 256)
        features = network.encode(patch)
        assert [tuple(level.shape[1:]) for level in features] == [
            (32, 64, 128, 128),
            (64, 32, 64, 64),
            (128, 16, 32, 32),
            (256, 8, 16, 16),
            (512, 4, 8, 8),
        ]
        assert network(patch).shape == (1, 3, 64, 256, 256)


def test_it_runs_in_bfloat16() -> None:
    network = build(**dict.fromkeys(SWITCHES, True), mi="histogram")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, contour = network(image())
    assert logits.dtype == contour.dtype == torch.bfloat16
    torch.testing.assert_close(logits.float(), network(image()).logits, rtol=0.1, atol=0.15)


def test_sizes_that_do_not_divide_are_refused() -> None:
    with pytest.raises(InputError, match=r"patches of \(8, 12, 24\) voxels.*multiples of \(4, 8, 8\)"):
        build()(torch.zeros(1, 1, 8, 12, 24))
    with pytest.raises(InputError, match=r"more than the smallest in at least one axis"):
        build()(torch.zeros(1, 1, 4, 8, 8))


def test_how_the_shortcut_joins_says_nothing_without_one() -> None:
    weights = [build(shortcut_join=join).state_dict() for join in ("split", "beside")]
    assert all(torch.equal(weights[0][name], value) for name, value in weights[1].items())


@pytest.mark.parametrize("channels", [[8], [8, 0], 32, None, "abc", [4, "a"], [4, 8.0], [4, True]])
def test_channels_that_make_no_vnet_are_refused(channels: Any) -> None:
    message = f"model.channels={channels} is no V-Net: name the channels of two or more levels, whole numbers from 1"
    with pytest.raises(InputError, match=re.escape(message)):
        build(channels=channels)


@pytest.mark.parametrize("stride", [[2, 2], [1, 2, 0], 2, None, "abc", [1.5, 2, 2]])
def test_a_stem_without_a_stride_is_refused(stride: Any) -> None:
    with pytest.raises(InputError, match=re.escape(f"model.stem_stride={stride} is no stride: write three whole num")):
        build(stem_stride=stride)
