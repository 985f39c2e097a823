import pytest
import torch
import torch.nn.functional as F

from kidney_lab.errors import InputError
from kidney_lab.networks.vox2vox import PairedConvolution, Vox2VoxGenerator

CHANNELS = (2, 4, 6)
BOTTLENECKS = ["pairs", "dense"]


def generator(**settings) -> Vox2VoxGenerator:
    torch.manual_seed(0)
    return Vox2VoxGenerator(1, 3, channels=CHANNELS, **settings)


@pytest.mark.parametrize("bottleneck", BOTTLENECKS)
def test_logits_have_the_image_s_size_and_every_weight_gets_gradient(bottleneck):
    network = generator(bottleneck=bottleneck)

    logits = network(torch.randn(2, 1, 16, 24, 32))
    logits.square().sum().backward()

    assert logits.shape == (2, 3, 16, 24, 32)
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
    assert all(parameter.grad.abs().sum() > 0 for name, parameter in network.named_parameters() if "weight" in name)


@pytest.mark.parametrize("bottleneck", BOTTLENECKS)
def test_number_of_parameters_is_that_of_the_program_s_convolutions(bottleneck):
    def conv(a, b):
        return 4**3 * a * b + b

    def block(a, b):
        return conv(a, b) + 2 * b  # with the scale and shift of its normalization

    with torch.device("meta"):
        network = Vox2VoxGenerator(4, 4, bottleneck=bottleneck)

    down = conv(4, 64) + block(64, 128) + block(128, 256) + block(256, 512)
    inputs, below = ((512, 1024, 1024, 1024), 1024) if bottleneck == "pairs" else ((512, 1024, 1536, 2048), 2560)
    concatenated = sum(block(width, 512) for width in inputs)
    up = block(below, 256) + block(2 * 256, 128) + block(2 * 128, 64) + conv(2 * 64, 4)
    assert sum(parameter.numel() for parameter in network.parameters()) == down + concatenated + up


def activated(x, weights, name):
    mean, variance = x.mean(dim=(2, 3, 4), keepdim=True), x.var(dim=(2, 3, 4), keepdim=True, unbiased=False)
    scale, shift = (weights[f"{name}.{key}"][:, None, None, None] for key in ("weight", "bias"))
    return F.leaky_relu((x - mean) / (variance + 1e-5).sqrt() * scale + shift, 0.3)


def literal(image, weights):
    """The program's layers one after another, for three levels with paired convolutions."""

    def conv(x, name, function, **settings):
        return function(x, weights[f"{name}.weight"], weights[f"{name}.bias"], **settings)

    half, double = {"stride": 2, "padding": 1}, {"function": F.conv_transpose3d, "stride": 2, "padding": 1}
    first = F.leaky_relu(conv(image, "encoder.0.conv", F.conv3d, **half), 0.3)
    second = activated(conv(first, "encoder.1.conv", F.conv3d, **half), weights, "encoder.1.adn.N")
    x = activated(conv(second, "bottleneck.0.conv", F.conv3d, **half), weights, "bottleneck.0.adn.N")
    for number in range(4):
        name = f"bottleneck.1.{number}"
        y = conv(F.pad(x, (1, 2) * 3), f"{name}.conv.1.conv", F.conv3d)
        x = torch.cat([activated(y, weights, f"{name}.act.0"), y], dim=1)
    for level, skip in ((1, second), (0, first)):
        x = activated(conv(x, f"decoder.{level}.conv", **double), weights, f"decoder.{level}.adn.N")
        x = torch.cat([x, skip], dim=1)
    return conv(x, "head.conv", **double)


def test_it_is_the_program_s_network_layer_by_layer():
    network, image = generator().double().eval(), torch.randn(2, 1, 16, 16, 24, dtype=torch.float64)

    torch.testing.assert_close(network(image), literal(image, network.state_dict()))


def test_a_convolution_of_even_kernel_keeps_every_voxel_in_its_place():
    block, x = PairedConvolution(1, 1), torch.randn(1, 1, 4, 5, 6)
    with torch.no_grad():
        kernel = torch.zeros(1, 1, 4, 4, 4)
        kernel[..., 1, 1, 1] = 1.0  # TensorFlow's "same": one voxel before, two behind
        block.conv[1].conv.weight.copy_(kernel)
        block.conv[1].conv.bias.zero_()

    assert torch.equal(block(x)[:, 1:], x)


def test_dense_convolutions_take_all_outputs_before_them():
    dense, x = generator(bottleneck="dense").bottleneck[1], torch.randn(1, 6, 2, 3, 4)

    outputs = [x]
    for block in dense.children():
        outputs.append(block(torch.cat(outputs, dim=1)))

    assert len(outputs) == 1 + 4
    torch.testing.assert_close(dense(x), torch.cat(outputs, dim=1))


def test_values_are_dropped_in_training_alone():
    network, image = generator(), torch.randn(1, 1, 16, 16, 16)

    assert not torch.equal(network(image), network(image))
    network.eval()
    assert torch.equal(network(image), network(image))


def test_learns_to_tell_two_bright_balls_apart_from_noise():
    axis = torch.arange(16.0)
    distance = (axis[:, None, None] - 7) ** 2 + (axis[:, None] - 8) ** 2 + (axis - 6) ** 2
    label = (distance < 25).long() + (distance < 6).long()
    torch.manual_seed(0)
    network = Vox2VoxGenerator(1, 3, channels=(4, 8, 8), dropout=0.0)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)

    for _ in range(60):
        optimizer.zero_grad()
        image = label[None, None] + 0.3 * torch.randn(2, 1, 16, 16, 16)
        F.cross_entropy(network(image), label.expand(2, -1, -1, -1)).backward()
        optimizer.step()

    found = network.eval()(image).argmax(dim=1)
    for value in (1, 2):
        overlap = (
            2 * ((found == value) & (label == value)).sum() / ((found == value).sum() + 2 * (label == value).sum())
        )
        assert overlap > 0.9


class TestRefusals:
    @pytest.mark.parametrize("size", [(12, 16, 16), (8, 8, 8)])
    def test_a_size_that_the_levels_do_not_halve(self, size):
        with pytest.raises(InputError, match=rf"{size[0]}, {size[1]}, .* does not fit .* 3 levels: .* multiple of 8"):
            generator()(torch.zeros(1, 1, *size))

    def test_a_single_level(self):
        with pytest.raises(InputError, match=r"model\.channels=\[4\] makes no generator"):
            Vox2VoxGenerator(channels=[4])

    def test_another_bottleneck(self):
        with pytest.raises(InputError, match=r"model\.bottleneck=wide is unknown: choose one of pairs, dense\."):
            generator(bottleneck="wide")

    @pytest.mark.parametrize("dropout", [-0.1, 1.0, "abc"])
    def test_what_is_no_share(self, dropout):
        with pytest.raises(InputError, match=rf"model\.dropout={dropout} is no share of values: give a number from 0"):
            generator(dropout=dropout)
