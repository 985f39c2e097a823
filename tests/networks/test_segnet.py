import pytest
import torch
from torch import nn
from torchvision.models import vgg16_bn

from kidney_lab.errors import InputError
from kidney_lab.networks.segnet import SegNet, unpool


def test_unpooling_is_torch_s_and_repeatable():
    x = torch.randn(2, 3, 9, 6)
    pooled, indices = nn.functional.max_pool2d(x, 2, return_indices=True)
    expected = nn.MaxUnpool2d(2)(pooled, indices, output_size=(9, 6))

    torch.use_deterministic_algorithms(True)
    try:
        given = unpool(pooled, indices, (9, 6))
    finally:
        torch.use_deterministic_algorithms(False)

    torch.testing.assert_close(given, expected, rtol=0, atol=0)


def test_a_maximum_returns_to_its_pixel():
    pooled = torch.tensor([[[[5.0]]]])
    indices = torch.tensor([[[[2]]]])  # of the 2 x 2 pixels the lower left one

    assert unpool(pooled, indices, (2, 2)).tolist() == [[[[0.0, 0.0], [5.0, 0.0]]]]


def test_its_encoder_is_vgg16_s_and_its_decoder_mirrors_it():
    with torch.device("meta"):
        network, vgg = SegNet(), vgg16_bn()

    shapes = {name: value.shape for name, value in network.encoder.state_dict().items()}
    assert shapes == {n: v.shape for n, v in vgg.state_dict().items() if not n.startswith("classifier.")}
    layers = [[m for m in level.modules() if isinstance(m, nn.Conv2d)] for level in [*network.decoder, network.head]]
    assert [[conv.out_channels for conv in level] for level in layers] == [
        [512, 512, 512],
        [512, 512, 256],
        [256, 256, 128],
        [128, 64],
        [64],
        [1],
    ]
    assert sum(p.numel() for p in network.parameters()) == 29_443_585  # Badrinarayanan et al., Table 3: 29.45 million


def test_it_answers_at_the_size_of_the_input():
    network = SegNet(in_channels=2, out_channels=3, channels=[4, 8, 8], convolutions=[1, 2, 1], dropout=0.5)

    logits = network(torch.randn(2, 2, 21, 16))
    logits.sum().backward()

    assert logits.shape == (2, 3, 21, 16)
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize(("channels", "convolutions"), [([4, 8], [1]), (4, [1]), ([4], None), ([], [])])
def test_levels_that_do_not_match_are_refused(channels, convolutions):
    with pytest.raises(
        InputError, match=r"^model\.channels=.* and model\.convolutions=.*: give two lists of the same le"
    ):
        SegNet(channels=channels, convolutions=convolutions)
