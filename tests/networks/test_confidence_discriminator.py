import torch
from monai.networks.layers import GaussianFilter
from torch import nn

from kidney_lab.losses.adversarial import discriminator_loss
from kidney_lab.networks.confidence_discriminator import ConfidenceDiscriminator
from kidney_lab.networks.msalds_unet import MSALDSUNet


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_confidence_has_the_input_s_size_and_one_channel():
    assert ConfidenceDiscriminator(channels=(4, 8, 16))(torch.randn(2, 2, 16, 24)).shape == (2, 1, 16, 24)
    volume = torch.randn(1, 3, 8, 8, 16)
    network = ConfidenceDiscriminator(spatial_dims=3, in_channels=3, channels=(4, 8))
    assert network(volume).shape == (1, 1, 8, 8, 16)


def test_has_one_convolution_per_stage_and_fewer_than_half_of_the_segmentation_network_s_parameters():
    discriminator, segmentation = ConfidenceDiscriminator(), MSALDSUNet(deep_supervision=False)

    kernels = [layer.kernel_size for layer in discriminator.modules() if isinstance(layer, nn.Conv2d)]

    assert kernels == [(3, 3)] * 9 + [(1, 1)]  # four stages down, the bottleneck, four up; the head
    assert parameters(discriminator) < parameters(segmentation) / 2


def test_a_confidence_does_not_depend_on_the_other_samples():
    torch.manual_seed(0)
    network, pairs = ConfidenceDiscriminator(channels=(4, 8, 16)), torch.randn(3, 2, 16, 16)

    torch.testing.assert_close(network(pairs)[:1], network(pairs[:1]))
    assert torch.equal(network(pairs), network.eval()(pairs))


def discs(n, seed):
    """Noisy images `(n, 1, 32, 32)` of bright discs, and their masks."""
    generator = torch.Generator().manual_seed(seed)
    centre, radius = (
        10 + 12 * torch.rand(2, n, 1, 1, generator=generator),
        4 + 4 * torch.rand(n, 1, 1, generator=generator),
    )
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    mask = ((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2).float()[:, None]
    return mask + 0.3 * torch.randn(mask.shape, generator=generator), mask


def test_alone_it_learns_to_tell_references_from_blurred_ones():
    torch.manual_seed(0)
    network, blur = ConfidenceDiscriminator(channels=(8, 16, 32)), GaussianFilter(2, sigma=1.5)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)

    def judge(image, mask):
        return network(torch.cat((image, blur(mask)), dim=1)), network(torch.cat((image, mask), dim=1))

    for step in range(80):
        optimizer.zero_grad()
        discriminator_loss(*judge(*discs(8, seed=step))).backward()
        optimizer.step()
    with torch.no_grad():
        fake, real = judge(*discs(16, seed=1000))  # others than it has seen

    assert (fake < 0).float().mean() > 0.95
    assert (real > 0).float().mean() > 0.95
