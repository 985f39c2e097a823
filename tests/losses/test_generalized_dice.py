import numpy as np
import pytest
import torch
from monai.losses import GeneralizedDiceLoss

from kidney_lab.errors import InputError
from kidney_lab.losses.generalized_dice import GeneralizedDiceLoss as OurLoss
from kidney_lab.losses.generalized_dice import generalized_dice
from kidney_lab.metrics import generalized_dice as score_of_label_maps

SHAPE = (6, 5, 4)


def random_problem(*, batch=2, classes=3, seed=0):
    """Probabilities and a one-hot target, (batch, classes, 6, 5, 4), in which every class occurs."""
    generator = torch.Generator().manual_seed(seed)
    probabilities = torch.randn((batch, classes, *SHAPE), generator=generator, dtype=torch.float64).softmax(dim=1)
    label = torch.randint(classes, (batch, *SHAPE), generator=generator)
    return probabilities, torch.nn.functional.one_hot(label, classes).movedim(-1, 1).double()


def by_hand(probabilities, target, exponent):
    """Eq. 2.2, class by class, of arrays (classes, voxels)."""
    numerator = denominator = 0.0
    for p, g in zip(probabilities, target, strict=True):
        weight = 1 / g.sum() ** exponent
        numerator += 2 * weight * (p * g).sum()
        denominator += weight * (p + g).sum()
    return numerator / denominator


@pytest.mark.parametrize(("w_type", "exponent"), [("square", 2), ("simple", 1), ("uniform", 0)])
def test_it_is_equation_2_2(w_type, exponent):
    probabilities, target = random_problem()

    given = generalized_dice(probabilities, target, w_type=w_type, smooth=0.0)
    whole = generalized_dice(probabilities, target, w_type=w_type, smooth=0.0, batch=True)

    samples = zip(probabilities.flatten(2).numpy(), target.flatten(2).numpy(), strict=True)
    np.testing.assert_allclose(given, [by_hand(p, g, exponent) for p, g in samples])
    laid_end_to_end = (channels.transpose(0, 1).flatten(1).numpy() for channels in (probabilities, target))
    assert float(whole) == pytest.approx(by_hand(*laid_end_to_end, exponent))


@pytest.mark.parametrize("w_type", ["square", "simple", "uniform"])
@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("absent", [(), (2,), (1, 2)])
def test_it_is_monai_s_without_smoothing(w_type, batch, absent):
    probabilities, target = random_problem()
    target[:, list(absent)] = 0

    given = 1 - generalized_dice(probabilities, target, w_type=w_type, batch=batch, smooth=0.0).mean()

    expected = GeneralizedDiceLoss(w_type=w_type, batch=batch, smooth_nr=0.0, smooth_dr=0.0)(probabilities, target)
    torch.testing.assert_close(given, expected, check_dtype=False)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_of_masks_it_is_the_score_of_label_maps(seed):
    rng = np.random.default_rng(seed)
    prediction, reference = rng.integers(0, 4, (2, *SHAPE), dtype=np.uint8)
    reference[reference == 3] = 0  # a label that the reference lacks
    one_hot = [torch.stack([torch.from_numpy(labels == label) for label in range(4)])[None].double() for labels in
               (prediction, reference)]  # fmt: skip

    given = generalized_dice(*one_hot, smooth=0.0)

    assert float(given) == pytest.approx(score_of_label_maps(prediction, reference, labels=range(4)))


def test_two_classes_by_hand():
    # Class 0: 4 voxels, 3 found; class 1: 1 voxel, found, and 1 too many. Weights 1/16 and 1.
    target = torch.tensor([[[[1.0, 1, 1, 1, 0]], [[0.0, 0, 0, 0, 1]]]])
    prediction = torch.tensor([[[[0.0, 1, 1, 1, 0]], [[1.0, 0, 0, 0, 1]]]])

    expected = 2 * (3 / 16 + 1) / ((3 + 4) / 16 + (2 + 1))

    assert float(generalized_dice(prediction, target)) == pytest.approx(expected, rel=1e-5)


def test_smoothing_does_not_hide_a_large_organ():
    # Half of a kidney of 200 000 voxels is missed; MONAI's smoothing makes 0.86 of what is 2/3.
    target = torch.ones(1, 1, 20, 100, 100)
    prediction = target.clone()
    prediction[..., :50] = 0

    assert float(generalized_dice(prediction, target)) == pytest.approx(2 / 3, abs=1e-6)
    assert 1 - float(GeneralizedDiceLoss()(prediction, target)) == pytest.approx(0.857, abs=1e-3)


def test_nothing_predicted_where_there_is_nothing_is_perfect_and_anything_is_not():
    nothing = torch.zeros(2, 3, *SHAPE)
    something = nothing.clone()
    something[:, 1, 2, 2, 2] = 1.0

    assert generalized_dice(nothing, nothing).tolist() == [1.0, 1.0]
    assert float(generalized_dice(nothing, nothing, batch=True)) == 1.0
    assert generalized_dice(something, nothing).max() < 1e-4
    assert generalized_dice(nothing, something).max() < 1e-4


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_gradients_are_finite_at_certainty(value):
    _, target = random_problem()
    for wanted in (target, torch.zeros_like(target)):
        probabilities = torch.full_like(target, value).requires_grad_()

        generalized_dice(probabilities, wanted).sum().backward()

        assert probabilities.grad.isfinite().all()


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", None])
@pytest.mark.parametrize("batch", [False, True])
def test_the_loss_is_monai_s_without_smoothing(activation, batch):
    probabilities, target = random_problem()
    settings = {"w_type": "simple", "batch": batch} | ({activation: True} if activation else {})

    given = OurLoss(**settings, smooth=0.0)(probabilities, target)

    expected = GeneralizedDiceLoss(**settings, smooth_nr=0.0, smooth_dr=0.0)(probabilities, target)
    torch.testing.assert_close(given, expected, check_dtype=False)


def test_a_loss_that_cannot_be_is_refused():
    with pytest.raises(InputError, match=r"loss\.softmax and loss\.sigmoid are both true"):
        OurLoss(softmax=True, sigmoid=True)
    with pytest.raises(InputError, match=r"loss\.w_type=cube is unknown: choose one of square, simple, uniform\."):
        OurLoss(w_type="cube")
