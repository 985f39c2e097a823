import pytest
import torch
from torchvision.models import alexnet

from kidney_lab.errors import InputError
from kidney_lab.networks.encoders import SMALLEST, build_encoder, refuse_small


@pytest.mark.parametrize(
    ("name", "sides", "channels"),
    [
        ("resnet50", [96, 48, 24, 12, 6, 3], [3, 64, 256, 512, 1024, 2048]),
        ("vgg16", [96, 48, 24, 12, 6, 3], [64, 128, 256, 512, 512, 512]),
        ("tu-inception_v3", [96, 45, 20, 9, 4, 1], [3, 64, 192, 288, 768, 2048]),
        ("alexnet", [96, 2], [3, 256]),
    ],
)
def test_the_features_of_every_stride_have_the_channels_that_are_told(name, sides, channels):
    with torch.device("meta"):
        encoder, told = build_encoder(name, in_channels=3)
        features = encoder.eval()(torch.empty(1, 3, 96, 96))

    assert list(told) == channels
    assert [tuple(one.shape) for one in features] == [(1, c, s, s) for c, s in zip(channels, sides, strict=True)]


@pytest.mark.parametrize("name", ["resnet18", "vgg11", "tu-test_resnet", "alexnet"])
def test_other_numbers_of_channels_are_taken(name):
    with torch.device("meta"):
        encoder, _ = build_encoder(name, in_channels=5)
        assert encoder(torch.empty(2, 5, 80, 80))[-1].shape[0] == 2


def test_alexnet_is_torchvision_s_without_its_classifier():
    encoder, _ = build_encoder("alexnet", in_channels=3)
    with torch.device("meta"):
        whole = alexnet()

    names = {name for name in whole.state_dict() if not name.startswith("classifier.")}
    assert set(encoder.state_dict()) == names


@pytest.mark.parametrize("name", ["resnet5", "tu-inceptio", "inception_v3", "tu-hf-hub:timm/resnet18"])
def test_an_unknown_encoder_is_refused_with_the_choices(name):
    with pytest.raises(InputError) as caught:
        build_encoder(name, in_channels=3)

    sentence = str(caught.value)
    assert sentence.startswith(f"The encoder {name} is unknown: choose resnet50, vgg16, tu-inception_v3, alexnet")
    assert sentence.count(". ") == 0


def test_an_encoder_of_one_stride_alone_is_refused():
    with pytest.raises(InputError, match=r"The encoder tu-vit_tiny_patch16_224 gives no features of the strides"):
        build_encoder("tu-vit_tiny_patch16_224", in_channels=3)


@pytest.mark.parametrize("name", SMALLEST)
def test_a_slice_of_the_smallest_size_leaves_features_and_a_smaller_one_none(name):
    smallest = SMALLEST[name]
    with torch.device("meta"):
        encoder = build_encoder(name, in_channels=3)[0].eval()
        assert min(encoder(torch.empty(1, 3, smallest, smallest))[-1].shape) > 0
        with pytest.raises(RuntimeError):
            encoder(torch.empty(1, 3, smallest - 1, smallest - 1))

    refuse_small(torch.empty(1, 3, smallest, smallest), name)
    with pytest.raises(
        InputError, match=rf"{name} takes slices of {smallest} x {smallest} pixels or more, not 40 x 200"
    ):
        refuse_small(torch.empty(1, 3, 40, 200), name)
