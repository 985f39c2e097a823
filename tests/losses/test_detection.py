import pytest
import torch

from kidney_lab.errors import InputError
from kidney_lab.losses.detection import DetectionLoss

LOSSES = {
    "loss_objectness": torch.tensor(1.0),
    "loss_rpn_box_reg": torch.tensor(2.0),
    "loss_classifier": torch.tensor(4.0),
    "loss_box_reg": torch.tensor(8.0),
    "loss_mask": torch.tensor(16.0),
}


def test_it_is_the_sum_of_the_losses():
    assert DetectionLoss()(LOSSES) == 31


def test_every_loss_has_a_weight():
    assert DetectionLoss(loss_mask=2.0, loss_classifier=0.0, loss_objectness=0.5)(LOSSES) == 0.5 + 2 + 8 + 32


def test_a_negative_weight_is_refused():
    with pytest.raises(InputError, match=r"loss\.loss_mask=-1 is no weight: give a number of at least 0"):
        DetectionLoss(loss_mask=-1)
