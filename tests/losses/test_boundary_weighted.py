import math

import pytest
import torch
from monai.losses import DiceCELoss, DiceLoss
from torch import Tensor
from torch.nn import functional as F

from kidney_lab.errors import InputError
from kidney_lab.losses.boundary_weighted import BoundaryWeightedLoss, boundary_weighted_cross_entropy
from kidney_lab.losses.contour import contour

CLASS_WEIGHTS = (0.2, 0.8, 1.5)


def one_hot(labels: Tensor, classes: int = 3) -> Tensor:
    """`(B, D, H, W)` to `(B, C, D, H, W)`."""
    return F.one_hot(labels, classes).movedim(-1, 1).float()


def cube() -> Tensor:
    """A cube of 3x3x3 voxels of label 1 in the middle of 9x9x9, one-hot `(1, 3, 9, 9, 9)`."""
    labels = torch.zeros(1, 9, 9, 9, dtype=torch.int64)
    labels[:, 3:6, 3:6, 3:6] = 1
    return one_hot(labels)


def example(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits and one-hot labels of two samples, in blocks so that not every voxel is contour."""
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randint(3, (2, 2, 2, 2), generator=generator)
    labels = blocks.repeat_interleave(5, 1).repeat_interleave(5, 2).repeat_interleave(6, 3)
    return 2 * torch.randn(2, 3, 10, 10, 12, generator=generator), one_hot(labels)


def test_voxels_of_the_cubes_contour_weigh_exactly_the_boundary_weight() -> None:
    target = cube()
    logits = torch.zeros_like(target, requires_grad=True)
    weight = torch.tensor(CLASS_WEIGHTS)
    boundary_weighted_cross_entropy(logits, target, weight=weight, boundary_weight=2.5).backward()
    # The gradient towards a voxel's own class is -w_v (1 - 1/3) / sum(w).
    own = (logits.grad * target).sum(1)[0]
    classes = torch.where(target[0, 1] > 0, 0.8, 0.2)
    factor = torch.where(contour(target)[0, 0], 2.5, 1.0)
    total = 0.2 * (9**3 - 5**3) + 2.5 * 0.2 * (5**3 - 3**3) + 2.5 * 0.8 * (3**3 - 1) + 0.8
    torch.testing.assert_close(own, -classes * factor * (2 / 3) / total)


def test_uniform_logits_cost_the_logarithm_of_the_classes_whatever_the_weights() -> None:
    target = cube()
    value = boundary_weighted_cross_entropy(torch.zeros_like(target), target, weight=torch.tensor(CLASS_WEIGHTS))
    assert value.item() == pytest.approx(math.log(3))


def test_cross_entropy_without_boundary_weight_is_torchs_with_class_weights() -> None:
    logits, target = example()
    weight = torch.tensor(CLASS_WEIGHTS)
    value = boundary_weighted_cross_entropy(logits, target, weight=weight, boundary_weight=1)
    torch.testing.assert_close(value, F.cross_entropy(logits, target.argmax(1), weight=weight))


@pytest.mark.parametrize("batch", [True, False])
def test_without_weights_the_loss_is_monais(batch: bool) -> None:
    logits, target = example()
    monai = DiceCELoss(
        include_background=False, softmax=True, squared_pred=True, batch=batch, lambda_dice=0.6, lambda_ce=0.4
    )
    ours = BoundaryWeightedLoss(weight=(1, 1, 1), boundary_weight=1, batch=batch)
    torch.testing.assert_close(ours(logits, target), monai(logits, target))


def test_with_class_weights_the_cross_entropy_is_monais_and_dice_is_not_weighted() -> None:
    logits, target = example()
    cross_entropy = DiceCELoss(weight=torch.tensor(CLASS_WEIGHTS)).ce(logits, target.argmax(1, keepdim=True))
    dice = DiceLoss(include_background=False, softmax=True, squared_pred=True)(logits, target)
    torch.testing.assert_close(
        BoundaryWeightedLoss(boundary_weight=1)(logits, target), 0.6 * dice + 0.4 * cross_entropy
    )


def test_errors_on_the_contour_cost_more_than_the_same_errors_elsewhere() -> None:
    target = cube()
    right = 8 * target
    on, off = right.clone(), right.clone()
    on[0, :, 2, 4, 4], off[0, :, 0, 4, 4] = torch.tensor([0.0, 8.0, 0.0]), torch.tensor([0.0, 8.0, 0.0])
    loss = BoundaryWeightedLoss(lambda_dice=0)
    base = loss(right, target)
    assert ((loss(on, target) - base) / (loss(off, target) - base)).item() == pytest.approx(2.5, rel=1e-3)


def test_a_perfect_prediction_costs_nothing() -> None:
    target = cube()
    assert BoundaryWeightedLoss()(100 * target, target).item() == pytest.approx(0, abs=1e-4)


def test_the_loss_falls_when_logits_follow_its_gradient() -> None:
    target = cube()
    logits = torch.zeros_like(target, requires_grad=True)
    loss = BoundaryWeightedLoss()
    optimizer = torch.optim.Adam([logits], lr=0.3)
    values = []
    for _ in range(30):
        optimizer.zero_grad()
        values.append(loss(logits, target))
        values[-1].backward()
        optimizer.step()
    assert values[-1] < 0.1 * values[0]


def test_half_precision_is_computed_in_full() -> None:
    logits, target = example()
    value = BoundaryWeightedLoss()(logits.bfloat16(), target.bfloat16())
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, BoundaryWeightedLoss()(logits.bfloat16().float(), target))


def test_weights_belong_to_no_checkpoint() -> None:
    assert BoundaryWeightedLoss().state_dict() == {}


def test_a_number_of_classes_without_weights_is_refused() -> None:
    logits = torch.zeros(1, 4, 4, 4, 4)
    with pytest.raises(InputError, match=r"loss.weight has 3 values, but the network 4 channels: give one weight for"):
        BoundaryWeightedLoss()(logits, logits)
    with pytest.raises(ValueError, match=r"logits are \(1, 3, 4, 4, 4\), but the reference is \(1, 4, 4, 4, 4\)"):
        BoundaryWeightedLoss()(logits[:, :3], logits)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": [0, 1, 1]}, r"loss.weight=\[0, 1, 1\] must be a list of numbers over 0"),
        ({"weight": [1, 1, math.inf]}, r"loss.weight=\[1, 1, inf\] must be a list of numbers over 0"),
        ({"weight": "abc"}, r"loss.weight=abc must be a list of numbers over 0"),
        ({"weight": None}, r"loss.weight=None must be a list of numbers over 0"),
        ({"boundary_weight": 0}, r"loss.boundary_weight=0 must be a number over 0"),
        ({"boundary_weight": math.nan}, r"loss.boundary_weight=nan must be a number over 0"),
        ({"lambda_ce": -1}, r"loss.lambda_ce=-1 must not be negative"),
        ({"lambda_dice": math.nan}, r"loss.lambda_dice=nan and loss.lambda_ce=0.4 must not be negative"),
        ({"lambda_dice": 0, "lambda_ce": 0}, r"loss.lambda_ce=0 must not be negative, and one of them over 0"),
        ({"softmax": False}, r"loss=class_weighted have a weight for each label.*set model.output=labels, or choose"),
    ],
)
def test_weights_that_make_no_loss_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        BoundaryWeightedLoss(**settings)
