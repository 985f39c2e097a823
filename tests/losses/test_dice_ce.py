import pytest
import torch
from monai.losses import DeepSupervisionLoss
from monai.losses import DiceCELoss as MonaiDiceCELoss

from kidney_lab.losses.dice_ce import DiceCELoss


def random_problem(classes=3, shape=(4, 5, 6)):
    generator = torch.Generator().manual_seed(0)
    target = (torch.rand((2, classes, *shape), generator=generator) > 0.6).float()
    return torch.randn((2, classes, *shape), generator=generator), target


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.3, 0.7)])
def test_with_a_sigmoid_every_region_is_a_binary_problem_of_its_own(weights):
    logits, target = random_problem()
    settings = {"sigmoid": True, "lambda_dice": weights[0], "lambda_ce": weights[1]}

    given = DiceCELoss(batch=True, **settings)(logits, target)

    alone = [slice(channel, channel + 1) for channel in range(3)]
    expected = [MonaiDiceCELoss(batch=True, **settings)(logits[:, one], target[:, one]) for one in alone]
    torch.testing.assert_close(given, torch.stack(expected).mean())


def test_overlapping_regions_do_not_compete():
    sure, everywhere = torch.full((1, 3, 2, 3, 4), 30.0), torch.ones(1, 3, 2, 3, 4)

    assert float(DiceCELoss(sigmoid=True)(sure, everywhere)) == pytest.approx(0.0, abs=1e-5)
    assert float(MonaiDiceCELoss(sigmoid=True)(sure, everywhere)) > 1.0


@pytest.mark.parametrize("settings", [{"batch": True, "include_background": False}, {"lambda_ce": 0.5}])
def test_with_a_softmax_it_is_monai_s(settings):
    logits, target = random_problem()
    one_hot = torch.nn.functional.one_hot(target.argmax(dim=1), 3).movedim(-1, 1).float()

    given = DiceCELoss(softmax=True, **settings)(logits, one_hot)

    torch.testing.assert_close(given, MonaiDiceCELoss(softmax=True, **settings)(logits, one_hot))


def test_deep_supervision_takes_it():
    logits, target = random_problem()
    lower = torch.nn.functional.interpolate(logits, size=(2, 3, 3))
    loss = DiceCELoss(sigmoid=True, batch=True)

    given = DeepSupervisionLoss(loss, weights=[0.75, 0.25])([logits, lower], target)

    lower_target = torch.nn.functional.interpolate(target, size=(2, 3, 3), mode="nearest-exact")
    torch.testing.assert_close(given, 0.75 * loss(logits, target) + 0.25 * loss(lower, lower_target))
