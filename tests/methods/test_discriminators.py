from functools import partial

import pytest
import torch
from torch import nn

from kidney_lab.errors import InputError
from kidney_lab.methods.discriminators import Discriminators, at_scale, supervised_levels
from kidney_lab.networks.confidence_discriminator import ConfidenceDiscriminator
from kidney_lab.networks.msalds_unet import MSALDSUNet

IMAGE = torch.arange(64.0).reshape(1, 1, 8, 8)
TARGET = (IMAGE % 8 < 3).float()
LOGITS = [torch.zeros(1, 1, 8, 8), torch.tensor([[0.0, 4.0]]).repeat(4, 2).reshape(1, 1, 4, 4)]


def discriminators(**settings) -> Discriminators:
    given = {"levels": 3, "network": ConfidenceDiscriminator, "channels": (2, 4, 6, 8)} | settings
    return Discriminators(**given)


@pytest.mark.parametrize(("adversarial", "count"), [("none", 0), ("last", 1), ("multi_scale", 3)])
def test_levels_that_have_a_discriminator(adversarial, count):
    assert len(discriminators(adversarial=adversarial)) == count


def test_discriminators_share_no_weights():
    made = discriminators()

    assert len({id(weight) for weight in made.parameters()}) == sum(1 for _ in made.parameters())
    first, second = (list(network.parameters()) for network in list(made.networks)[:2])
    assert len(first) == len(second)
    assert not torch.equal(first[0], second[0])


@pytest.mark.parametrize(("levels", "supervised"), [(True, 3), (False, 1)])
def test_as_many_levels_as_the_network_has_heads(levels, supervised):
    network = MSALDSUNet(channels=(4, 4, 4, 8), se_ratio=4, deep_supervision=levels)

    given = network(torch.zeros(2, 1, 32, 32))

    assert supervised_levels(network) == supervised == (len(given) if levels else 1)


def test_a_network_without_a_list_of_heads_has_one_level():
    assert supervised_levels(nn.Conv2d(1, 1, 1)) == 1


def test_at_full_scale_logits_are_enlarged_to_the_image():
    fine, coarse = at_scale(IMAGE, LOGITS, TARGET, "full")

    assert fine.logits is LOGITS[0]
    assert coarse.image is IMAGE
    assert coarse.target is TARGET
    # Between the centers of two pixels of 0 and 4, a quarter and three quarters of the way.
    assert coarse.logits[0, 0, 0].tolist() == [0.0, 1.0, 3.0, 3.0, 1.0, 1.0, 3.0, 4.0]


def test_at_native_scale_image_and_reference_are_averaged():
    fine, coarse = at_scale(IMAGE, LOGITS, TARGET, "native")

    assert fine.target is TARGET
    assert coarse.logits is LOGITS[1]
    assert coarse.image[0, 0, 0, 0] == (0 + 1 + 8 + 9) / 4
    assert coarse.target[0, 0, 0].tolist() == [1.0, 0.5, 0.0, 0.0]


@pytest.mark.parametrize("scale", ["full", "native"])
def test_every_level_has_its_own_discriminator_which_judges_every_pixel(scale):
    image = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    logits = [torch.zeros(2, 1, size, size) for size in (16, 8, 4)]
    made = discriminators(scale=scale)

    for number, level in enumerate(at_scale(image, logits, image.sign().relu(), scale)):
        judged = made(number, level.image, level.target)
        assert judged.shape == level.logits.shape
        torch.testing.assert_close(judged, made.networks[number](torch.cat([level.image, level.target], dim=1)))


def test_volumes_have_discriminators_too():
    made = discriminators(network=partial(ConfidenceDiscriminator, spatial_dims=3), channels=(2, 4))
    image = torch.randn(1, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    (level,) = at_scale(image, [torch.ones(1, 1, 2, 4, 4)], image, "full")

    judged = made(0, level.image, level.logits)
    assert judged.shape == image.shape
    torch.testing.assert_close(judged, made.networks[0](torch.cat([image, torch.ones_like(image)], dim=1)))


def test_half_precision_ends_in_full():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert discriminators()(0, torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16)).dtype == torch.float32


def test_smoothing_reaches_the_loss():
    fake, real = torch.tensor([0.3]), torch.tensor([0.7])
    expected = -(0.9 * real.sigmoid().log() + 0.1 * (1 - real.sigmoid()).log() + (1 - fake.sigmoid()).log()) / 2

    assert float(discriminators(label_smoothing=0.1).loss(fake, real)) == pytest.approx(float(expected))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"adversarial": "all"}, "model.adversarial=all is unknown: choose one of none, last, multi_scale"),
        ({"scale": "half"}, "model.discriminator.scale=half is unknown: choose one of full, native"),
        ({"label_smoothing": 0.5}, "label_smoothing=0.5 is out of range"),
    ],
)
def test_unknown_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        discriminators(**settings)
