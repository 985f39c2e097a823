import pytest
import torch
from torch import nn

from kidney_lab.errors import InputError
from kidney_lab.networks.msalds_unet import MSALDSUNet
from kidney_lab.networks.residual_block import ResidualBlock
from tests.references import msalds as literal

SMALL = {"channels": (4, 6, 8, 10), "se_ratio": 2}


def network(**arguments):
    torch.manual_seed(0)
    return MSALDSUNet(**{**SMALL, **arguments})


def test_logits_of_every_decoder_stage_equal_a_literal_reading_of_the_graph():
    model = network().double()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):  # statistics that are no identity
            for tensor in (layer.running_mean, layer.weight.data, layer.bias.data):
                tensor.normal_()
            layer.running_var.uniform_(0.5, 2)
    image = torch.randn(2, 1, 16, 24, dtype=torch.float64)
    expected = literal.msalds_unet(image, model.state_dict(), dilations=(1, 2, 4))

    model.train()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()  # the literal reading has running statistics
    with torch.no_grad():
        torch.testing.assert_close(model(image), expected, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(model.eval()(image), expected[0], rtol=1e-9, atol=1e-9)


def test_trains_on_logits_of_every_level_finest_first_and_predicts_the_finest():
    model, image = network(), torch.randn(2, 1, 32, 48)

    shapes = [tuple(logits.shape) for logits in model(image)]

    assert shapes == [(2, 1, 32, 48), (2, 1, 16, 24), (2, 1, 8, 12)]
    assert model.eval()(image).shape == (2, 1, 32, 48)


def test_without_deep_supervision_the_lower_heads_do_not_exist_and_the_rest_keeps_its_names():
    deep, plain, image = network(), network(deep_supervision=False), torch.randn(2, 1, 16, 16)
    missing = set(deep.state_dict()) - set(plain.state_dict())

    plain.load_state_dict({name: value for name, value in deep.state_dict().items() if name not in missing})

    assert missing == {f"heads.{level}.{kind}" for level in (1, 2) for kind in ("weight", "bias")}
    assert torch.equal(plain(image), deep(image)[0])
    assert plain.training


def test_every_parameter_gets_gradient_from_the_heads_together():
    model = network()

    sum(logits.square().mean() for logits in model(torch.randn(2, 1, 32, 32))).backward()

    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []


def dilations(module):
    """Dilation of the residual blocks in a part of the network, in their order."""
    return [block.conv2.conv.dilation[0] for block in module.modules() if isinstance(block, ResidualBlock)]


def test_dilated_blocks_are_the_bottleneck_or_stand_in_every_skip():
    centre, skips = network(dilations=(1, 3)), network(dilations=(1, 3), dilated="skips")

    assert dilations(centre.body.bottleneck) == [1, 3]
    assert dilations(centre.body.skips) == []
    assert dilations(skips.body.bottleneck) == [1]
    assert dilations(skips.body.skips) == [1, 3] * 3
    assert skips(torch.randn(2, 1, 16, 16))[2].shape == (2, 1, 4, 4)


def test_attention_is_in_the_encoder_alone_and_goes_with_the_ratio():
    attentive = {name for name, _ in network().named_parameters() if "attention" in name}

    assert {name.split(".")[1] for name in attentive} == {"encoder"}
    assert {name.split(".")[2] for name in attentive} == {"0", "1", "2"}
    assert not any("attention" in name for name, _ in network(se_ratio=None).named_parameters())


def test_the_bottleneck_sees_as_far_as_its_dilations_say():
    chain = network(channels=(4, 4), dilations=(1, 2, 4), se_ratio=None).body.bottleneck.eval()
    x = torch.randn(1, 4, 41, 41, requires_grad=True)

    chain(x)[0, :, 20, 20].sum().backward()

    rows = torch.nonzero(x.grad[0].abs().sum(dim=(0, 2))).flatten()
    assert (rows.min(), rows.max()) == (20 - 14, 20 + 14)  # two convolutions each of reach 1, 2 and 4


def test_works_in_three_dimensions():
    logits = network(spatial_dims=3, channels=(4, 6, 8), out_channels=2)(torch.randn(1, 1, 8, 16, 8))

    assert [tuple(level.shape) for level in logits] == [(1, 2, 8, 16, 8), (1, 2, 4, 8, 4)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dilated": "encoder"}, "dilated=encoder is no place for the dilated blocks: choose out of bottleneck, skips"),
        ({"dilations": []}, r"dilations=\[\] makes no blocks"),
        ({"dilations": [1, 0]}, r"dilations=\[1, 0\] makes no blocks"),
        ({"se_ratio": 16}, r"se_ratio=16 does not fit channels=\[4, 6, 8, 10\]: choose 1 to 4"),
        ({"channels": [4]}, r"channels=\[4\] makes no U-shape"),
    ],
)
def test_settings_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        network(**({"se_ratio": None} if "channels" in arguments else {}), **arguments)
