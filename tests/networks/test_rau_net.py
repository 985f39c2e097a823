from itertools import pairwise

import pytest
import torch
from torch import nn

from kidney_lab.errors import InputError
from kidney_lab.networks.rau_net import GatedResidualBlock, RAUNet
from kidney_lab.networks.res_unet import ResUNet


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_logits_have_the_image_s_size_and_one_channel_per_region():
    assert RAUNet(channels=(4, 8, 16))(random(2, 1, 16, 24)).shape == (2, 2, 16, 24)
    volume = random(1, 1, 8, 8, 16)
    assert RAUNet(spatial_dims=3, out_channels=3, channels=(4, 8))(volume).shape == (1, 3, 8, 8, 16)


def test_number_of_parameters_is_that_of_a_res_unet_with_gates():
    channels = (1, 4, 8, 16)

    def block(a, b):
        shortcut = 0 if a == b else a * b + 2 * b
        return 9 * a * b + 9 * b * b + 4 * b + shortcut  # two convolutions without bias, two normalizations

    def gate(b):
        inner = b // 2
        return 2 * (b * inner + inner + 2 * inner) + inner + 1 + 2  # three 1x1 convolutions, each with a normalization

    down = sum(block(a, b) for a, b in pairwise(channels))
    up = sum(4 * 2 * b * b + b + gate(b) + block(2 * b, b) for b in (4, 8))
    head = 4 * 2 + 2

    assert parameters(RAUNet(channels=channels[1:])) == down + up + head
    assert parameters(RAUNet(channels=channels[1:])) - parameters(ResUNet(channels=channels[1:])) == gate(4) + gate(8)


def test_every_weight_gets_gradient():
    torch.manual_seed(0)
    network = RAUNet(channels=(4, 8, 16))

    network(random(2, 1, 16, 16)).square().mean().backward()

    # A normalization subtracts the bias of the convolution before it again.
    absorbed = ("W_g.0.conv.bias", "W_x.0.conv.bias", "psi.0.conv.bias")
    without = {name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()}
    assert {name for name in without if not name.endswith(absorbed)} == set()


class TestGate:
    def block(self) -> GatedResidualBlock:
        torch.manual_seed(0)
        return GatedResidualBlock(2, 8, 4).eval()

    def test_weighs_the_pixels_of_the_skip_by_a_literal_reading_of_attention_u_net(self):
        block, skip, below = self.block(), random(1, 4, 6, 6), random(2, 4, 6, 6)[1:]
        weights = block.gate.state_dict()

        def project(x, name):
            x = torch.einsum("oc,bchw->bohw", weights[f"{name}.0.conv.weight"][:, :, 0, 0], x)
            x = x + weights[f"{name}.0.conv.bias"][None, :, None, None]
            return x / (1 + 1e-5) ** 0.5  # a new normalization: mean 0, variance 1, scale 1, shift 0

        attention = torch.sigmoid(project((project(below, "W_g") + project(skip, "W_x")).clamp(min=0), "psi"))

        assert attention.std() > 0.01
        expected = block.block(torch.cat([attention * skip, below], dim=1))
        torch.testing.assert_close(block(torch.cat([skip, below], dim=1)), expected)

    @pytest.mark.parametrize(("shift", "opened"), [(50.0, True), (-50.0, False)])
    def test_open_it_passes_the_skip_and_closed_nothing_of_it(self, shift, opened):
        block, skip, below = self.block(), random(1, 4, 6, 6), random(2, 4, 6, 6)[1:]
        nn.init.constant_(block.gate.psi[1].bias, shift)

        expected = block.block(torch.cat([skip if opened else torch.zeros_like(skip), below], dim=1))

        torch.testing.assert_close(block(torch.cat([skip, below], dim=1)), expected)

    def test_with_open_gates_the_network_is_a_res_unet(self):
        network, plain = RAUNet(channels=(4, 8, 16)).eval(), ResUNet(channels=(4, 8, 16)).eval()
        for block in network.body.decoder:
            nn.init.constant_(block.gate.psi[1].bias, 50.0)
        kept = {name: value for name, value in network.state_dict().items() if ".gate." not in name}
        plain.load_state_dict({name.replace(".block.", "."): value for name, value in kept.items()})

        torch.testing.assert_close(network(random(2, 1, 16, 16)), plain(random(2, 1, 16, 16)))


def test_learns_to_segment_a_bright_disc():
    torch.manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    label = ((rows - 14) ** 2 + (columns - 18) ** 2 < 49).float()[None, None]
    image = label + 0.5 * torch.randn(4, 1, 32, 32)
    network = RAUNet(out_channels=1, channels=(4, 8, 16))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)

    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(network(image), label.expand(4, -1, -1, -1)).backward()
        optimizer.step()

    found = network(image) > 0
    overlap = 2 * (found & (label > 0)).sum() / (found.sum() + 4 * label.sum())
    assert overlap > 0.95


def test_a_size_that_does_not_halve_often_enough_is_refused():
    with pytest.raises(InputError, match=r"An input of \(18, 16\) pixels does not fit a network of 3 levels"):
        RAUNet(channels=(4, 8, 16))(random(1, 1, 18, 16))
