from itertools import pairwise

import torch

from kidney_lab.networks.res_unet import ResUNet


def test_logits_have_the_image_s_size_and_one_channel_per_region():
    assert ResUNet(channels=(4, 8, 16))(torch.randn(2, 1, 16, 24)).shape == (2, 2, 16, 24)
    volume = torch.randn(1, 1, 8, 8, 16)
    assert ResUNet(spatial_dims=3, out_channels=3, channels=(4, 8))(volume).shape == (1, 3, 8, 8, 16)


def test_number_of_parameters_is_that_of_a_u_net_with_1x1_shortcuts():
    channels = (1, 4, 8, 16)

    def block(a, b):
        shortcut = 0 if a == b else a * b + 2 * b
        return 9 * a * b + 9 * b * b + 4 * b + shortcut  # two convolutions without bias, two normalizations

    down = sum(block(a, b) for a, b in pairwise(channels))
    up = sum(4 * 2 * b * b + b + block(2 * b, b) for b in (4, 8))  # 2x2 transposed convolution from 2b to b channels
    head = 4 * 2 + 2

    network = ResUNet(channels=channels[1:])
    assert sum(p.numel() for p in network.parameters()) == down + up + head


def test_learns_to_segment_a_bright_disc():
    torch.manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    label = ((rows - 14) ** 2 + (columns - 18) ** 2 < 49).float()[None, None]
    image = label + 0.5 * torch.randn(4, 1, 32, 32)
    network = ResUNet(out_channels=1, channels=(4, 8, 16))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)

    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(network(image), label.expand(4, -1, -1, -1)).backward()
        optimizer.step()

    found = network(image) > 0
    overlap = 2 * (found & (label > 0)).sum() / (found.sum() + 4 * label.sum())
    assert overlap > 0.95
