import math

import pytest
import torch

from kidney_lab.errors import InputError
from kidney_lab.losses.adversarial import DiscriminatorLoss, adversarial_loss, discriminator_loss
from tests.references import msalds as literal


def logits(seed, shape=(2, 1, 4, 5)):
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_equations_4_and_5_equal_their_literal_readings():
    fake, real = logits(0), logits(1)

    assert adversarial_loss(fake).item() == pytest.approx(literal.adversarial(fake.sigmoid()), rel=1e-12)
    expected = literal.discriminator(fake.sigmoid(), real.sigmoid())
    assert discriminator_loss(fake, real).item() == pytest.approx(expected, rel=1e-12)


def test_an_undecided_discriminator_costs_log_2():
    undecided = torch.zeros(1, 1, 2, 2)

    assert adversarial_loss(undecided).item() == pytest.approx(math.log(2))
    assert discriminator_loss(undecided, undecided).item() == pytest.approx(math.log(2))


def test_a_discriminator_that_is_sure_stays_finite_and_still_gives_gradient():
    sure = torch.full((1, 1, 2, 2), -300.0, requires_grad=True)

    loss = adversarial_loss(sure)
    loss.backward()

    assert loss.item() == pytest.approx(300)
    assert torch.allclose(sure.grad, torch.tensor(-1 / 4))  # mean over four pixels of sigmoid - 1
    assert discriminator_loss(sure, -sure).item() == pytest.approx(0)


def test_smoothing_moves_the_optimum_for_references_alone():
    real = torch.zeros((), requires_grad=True)
    best = math.log(0.9 / 0.1)  # logit of 1 - 0.1

    def slope(fake, real):
        fake, real = (torch.tensor([value], requires_grad=True) for value in (fake, real))
        return torch.autograd.grad(discriminator_loss(fake, real, label_smoothing=0.1), (fake, real))

    fake_slope, real_slope = slope(-20.0, best)
    assert real_slope.item() == pytest.approx(0, abs=1e-7)
    assert fake_slope.item() == pytest.approx(0, abs=1e-7)
    assert slope(0.0, best + 1)[1] > 0 > slope(0.0, best - 1)[1]
    assert DiscriminatorLoss(0.1)(real, real) == discriminator_loss(real, real, label_smoothing=0.1)


@pytest.mark.parametrize("label_smoothing", [-0.1, 0.5, 1.0])
def test_a_smoothing_that_makes_references_no_references_is_refused(label_smoothing):
    with pytest.raises(InputError, match=f"label_smoothing={label_smoothing} is out of range: choose 0"):
        DiscriminatorLoss(label_smoothing)
