import pytest
import torch
from segmentation_models_pytorch import DeepLabV3

from kidney_lab.errors import InputError
from kidney_lab.networks.deeplabv3 import build_deeplabv3


def test_it_is_the_library_s_and_answers_at_the_size_of_the_input():
    network = build_deeplabv3(encoder="tu-test_resnet", in_channels=2, out_channels=3, channels=8, dropout=0.3)

    assert isinstance(network, DeepLabV3)
    assert [layer.p for layer in network.modules() if isinstance(layer, torch.nn.Dropout)] == [0.3]
    assert network.eval()(torch.zeros(1, 2, 80, 64)).shape == (1, 3, 80, 64)
    features = network.encoder(torch.zeros(1, 2, 64, 64))
    assert features[-1].shape[2:] == (4, 4)  # of stride 16


@pytest.mark.parametrize("encoder", ["x", "tu-nothing", None, 3, "alexnet"])
def test_an_unknown_encoder_is_refused_with_the_choices(encoder):
    with pytest.raises(
        InputError, match=rf"^The encoder {encoder} is unknown: choose resnet50, vgg16, tu-inception_v3"
    ):
        build_deeplabv3(encoder=encoder)


def test_an_encoder_that_cannot_be_dilated_is_refused():
    with pytest.raises(
        InputError, match=r"^The encoder tu-inception_v3 gives no features of the strides that are asked"
    ):
        build_deeplabv3(encoder="tu-inception_v3")


@pytest.mark.parametrize("channels", [[8], "abc", 1.5])
def test_channels_are_one_number(channels):
    with pytest.raises(
        InputError, match=r"^model\.channels=.* is no count: DeepLabv3 takes one whole number of at least"
    ):
        build_deeplabv3(encoder="resnet18", channels=channels)
