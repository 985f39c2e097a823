import copy
import re
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from monai.losses import DiceCELoss, DiceLoss
from torch import nn

from kidney_lab.errors import InputError
from kidney_lab.losses.adversarial import adversarial_loss, discriminator_loss
from kidney_lab.losses.difficulty import DifficultyLoss, difficulty_cross_entropy, difficulty_weight, power_weight
from kidney_lab.networks.confidence_discriminator import ConfidenceDiscriminator
from kidney_lab.networks.res_unet import ResUNet
from tests.references import msalds as literal


def random(seed, shape=(2, 1, 4, 5)):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


LOGITS, TARGET, CONFIDENCE_LOGITS = random(0), (random(1) > 0).double(), 2 * random(2)
DICE = DiceLoss(sigmoid=True)


def test_weight_is_2_for_a_wrong_pixel_and_0_for_a_perfect_one():
    assert difficulty_weight(torch.tensor([0.0, 0.5, 1.0])).tolist() == [2.0, 0.75, 0.0]


def test_power_weight_is_the_difficulty_to_the_exponent():
    assert power_weight(torch.tensor([0.0, 0.5, 1.0])).tolist() == [1.0, 0.5, 0.0]
    assert power_weight(torch.tensor([0.0, 0.5, 1.0]), exponent=2).tolist() == [1.0, 0.25, 0.0]


def test_equations_1_and_2_equal_their_literal_readings():
    confidence = CONFIDENCE_LOGITS.sigmoid()
    weights = [literal.difficulty(m) for (m,) in literal.pixels(confidence)]

    loss = difficulty_cross_entropy(LOGITS, TARGET, confidence)

    assert difficulty_weight(confidence).flatten().tolist() == pytest.approx(weights, rel=1e-12)
    expected = literal.difficulty_cross_entropy(TARGET, LOGITS.sigmoid(), confidence)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_is_plain_cross_entropy_without_confidence_and_where_the_weight_is_1():
    plain = F.binary_cross_entropy_with_logits(LOGITS, TARGET)
    golden = torch.full_like(LOGITS, 1 - (5**0.5 - 1) / 2)  # d^2 + d = 1 where d = (sqrt(5) - 1) / 2

    assert torch.equal(difficulty_cross_entropy(LOGITS, TARGET), plain)
    assert torch.equal(difficulty_cross_entropy(LOGITS, TARGET, golden, weight=torch.ones_like), plain)
    assert difficulty_cross_entropy(LOGITS, TARGET, golden).item() == pytest.approx(plain.item(), rel=1e-12)


def test_a_deceived_discriminator_silences_it_and_min_weight_keeps_a_share():
    plain = F.binary_cross_entropy_with_logits(LOGITS, TARGET).item()
    deceived = torch.ones_like(LOGITS)

    assert difficulty_cross_entropy(LOGITS, TARGET, deceived) == 0
    assert difficulty_cross_entropy(LOGITS, TARGET, deceived, min_weight=0.1).item() == pytest.approx(0.1 * plain)
    assert difficulty_cross_entropy(LOGITS, TARGET, 1 - deceived).item() == pytest.approx(2 * plain)


def test_labels_may_be_integers():
    whole = difficulty_cross_entropy(LOGITS, TARGET.to(torch.uint8))

    assert torch.equal(whole, difficulty_cross_entropy(LOGITS, TARGET))


@pytest.mark.parametrize("shape", [(2, 4, 5), (2, 2, 4, 5), (1, 1, 4, 5), (2, 1, 1, 5)])
def test_confidence_must_have_the_logits_shape_or_one_channel(shape):
    logits = random(0, (2, 3, 4, 5))
    message = f"confidence has shape {shape}, logits (2, 3, 4, 5): must be equal but for the channels"

    with pytest.raises(ValueError, match=re.escape(message)):
        difficulty_cross_entropy(logits, logits.sigmoid(), torch.ones(shape))


def test_one_confidence_weighs_a_pixel_in_every_region():
    logits, target, M = random(0, (2, 3, 4, 5)), (random(1, (2, 3, 4, 5)) > 0).double(), random(2, (2, 1, 4, 5))

    terms = DifficultyLoss(dice=DICE)(logits, target, M)

    M, P = M.sigmoid(), logits.sigmoid()
    entropies = [literal.difficulty_cross_entropy(target[:, k], P[:, k], M[:, 0]) for k in range(3)]
    assert terms.cross_entropy.item() == pytest.approx(sum(entropies) / 3, rel=1e-12)
    assert terms.weight.item() == pytest.approx(difficulty_weight(M).mean().item())
    assert terms.adversarial.item() == pytest.approx(literal.adversarial(M), rel=1e-12)
    assert torch.equal(terms.total, terms.dice + terms.cross_entropy + 0.05 * terms.adversarial)


def test_gradient_of_the_weighted_loss_is_the_weight_times_the_error():
    logits, confidence = LOGITS.clone().requires_grad_(), CONFIDENCE_LOGITS.sigmoid()

    difficulty_cross_entropy(logits, TARGET, confidence).backward()

    expected = difficulty_weight(confidence) * (LOGITS.sigmoid() - TARGET) / LOGITS.numel()
    torch.testing.assert_close(logits.grad, expected, rtol=1e-12, atol=0)


def test_equation_3_equals_its_literal_reading_and_tells_its_terms():
    terms = DifficultyLoss(dice=DICE)(LOGITS, TARGET, CONFIDENCE_LOGITS)

    Y, P, M = TARGET, LOGITS.sigmoid(), CONFIDENCE_LOGITS.sigmoid()
    assert terms.total.item() == pytest.approx(literal.segmentation(Y, P, M), rel=1e-9)
    assert terms.dice.item() == pytest.approx(literal.dice_loss(Y, P), rel=1e-9)
    assert terms.cross_entropy.item() == pytest.approx(literal.difficulty_cross_entropy(Y, P, M), rel=1e-9)
    assert terms.adversarial.item() == pytest.approx(literal.adversarial(M), rel=1e-9)
    assert terms.weight.item() == pytest.approx(difficulty_weight(M).mean().item())


def test_without_difficulty_the_discriminator_acts_through_the_adversarial_term_alone():
    terms = DifficultyLoss(dice=DICE, difficulty=False, adversarial_weight=0.5)(LOGITS, TARGET, CONFIDENCE_LOGITS)

    plain = F.binary_cross_entropy_with_logits(LOGITS, TARGET)
    assert torch.equal(terms.cross_entropy, plain)
    assert torch.equal(terms.total, terms.dice + plain + 0.5 * adversarial_loss(CONFIDENCE_LOGITS))
    assert terms.weight == 1


@pytest.mark.parametrize("difficulty", [True, False])
def test_without_a_discriminator_it_is_dice_and_cross_entropy_bit_for_bit(difficulty):
    ours, monais = (random(0, (2, 1, 16, 16)).float().requires_grad_() for _ in range(2))
    target = (random(1, (2, 1, 16, 16)) > 0).float()

    terms = DifficultyLoss(dice=DICE, difficulty=difficulty)(ours, target)
    expected = DiceCELoss(sigmoid=True)(monais, target)
    terms.total.backward()
    expected.backward()

    assert torch.equal(terms.total, expected)
    assert torch.equal(ours.grad, monais.grad)
    assert (terms.adversarial, terms.weight) == (0, 1)


@pytest.fixture
def players():
    """Segmentation network, discriminator, images and masks."""
    torch.manual_seed(0)
    network, discriminator = ResUNet(out_channels=1, channels=(4, 8)), ConfidenceDiscriminator(channels=(4, 8))
    return network, discriminator, torch.randn(2, 1, 8, 8), (torch.randn(2, 1, 8, 8) > 0).float()


def judged(discriminator, image, logits):
    return discriminator(torch.cat((image, logits.sigmoid()), dim=1))


def gradients(network):
    return [parameter.grad for parameter in network.parameters()]


def test_difficulty_gives_the_discriminator_no_gradient_unless_asked(players):
    network, discriminator, image, label = players
    logits = network(image)
    confidence = judged(discriminator, image, logits).sigmoid()

    difficulty_cross_entropy(logits, label, confidence).backward(retain_graph=True)
    assert gradients(discriminator) == [None] * len(gradients(discriminator))
    assert all(gradient is not None for gradient in gradients(network))

    difficulty_cross_entropy(logits, label, confidence, detach=False).backward()
    assert any(gradient.abs().sum() > 0 for gradient in gradients(discriminator))


def test_detached_difficulty_is_a_constant_to_the_segmentation_network(players):
    network, discriminator, image, label = players
    twin = copy.deepcopy(network)
    logits = network(image)
    confidence = judged(discriminator, image, logits).sigmoid()
    constant = torch.tensor(confidence.tolist())

    difficulty_cross_entropy(logits, label, confidence).backward()
    difficulty_cross_entropy(twin(image), label, constant).backward()

    for ours, expected in zip(gradients(network), gradients(twin), strict=True):
        torch.testing.assert_close(ours, expected)


def test_the_segmentation_loss_reaches_the_network_through_a_frozen_discriminator_and_not_its_parameters(players):
    network, discriminator, image, label = players
    discriminator.requires_grad_(False)
    logits = network(image)

    terms = DifficultyLoss(dice=DICE)(logits, label, judged(discriminator, image, logits))
    (through,) = torch.autograd.grad(terms.adversarial, logits, retain_graph=True)
    terms.total.backward()

    assert through.abs().sum() > 0
    assert gradients(discriminator) == [None] * len(gradients(discriminator))
    assert any(gradient.abs().sum() > 0 for gradient in gradients(network))


def test_the_discriminator_s_loss_gives_the_segmentation_network_no_gradient(players):
    network, discriminator, image, label = players

    fake = judged(discriminator, image, network(image).detach())
    discriminator_loss(fake, discriminator(torch.cat((image, label), dim=1))).backward()

    assert gradients(network) == [None] * len(gradients(network))
    assert any(gradient.abs().sum() > 0 for gradient in gradients(discriminator))


def test_another_weight_is_a_partial_function():
    loss = DifficultyLoss(dice=DICE, weight=partial(power_weight, exponent=2))

    terms = loss(LOGITS, TARGET, CONFIDENCE_LOGITS)

    assert terms.weight.item() == pytest.approx(((1 - CONFIDENCE_LOGITS.sigmoid()) ** 2).mean().item())
    assert isinstance(loss, nn.Module)


@pytest.mark.parametrize("name", ["adversarial_weight", "min_weight"])
def test_a_negative_weight_is_refused(name):
    with pytest.raises(InputError, match=f"{name}=-0.5 is negative: choose 0 or more"):
        DifficultyLoss(dice=DICE, **{name: -0.5})
