import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models.detection.roi_heads import maskrcnn_loss

from kidney_lab.networks.mask_activation import (
    label_shares,
    mask_loss,
    own_region,
    region_logits,
    region_probabilities,
)


def algorithm_2(z):
    """Lines 3 to 5 as printed, on the logits `(3, h, w)` of one RoI: pixels in a row, then reshaped."""
    classes, height, width = z.shape
    pixels = z.reshape(classes, height * width)
    exp_z = pixels.exp()
    return (exp_z / exp_z.sum(dim=0)).reshape(classes, height, width)


def target(label):
    """Instances of a slice with one kidney and perhaps a tumor."""
    masks = torch.stack([label > 0, label == 2])
    keep = masks.any(dim=2).any(dim=1)
    return {"masks": masks[keep].byte(), "labels": torch.tensor([1, 2])[keep]}


@pytest.fixture
def slice_with_tumor():
    label = torch.zeros(16, 16, dtype=torch.uint8)
    label[2:10, 4:12] = 1
    label[4:8, 6:10] = 2
    return label


def test_probabilities_have_these_values_at_two_pixels():
    # shape: (1, 3, 1, 2)
    logits = torch.tensor([[[[0.0, 1.0]], [[math.log(3), 1.0]], [[math.log(4), 1.0]]]])

    sigmoid = region_probabilities(logits, "sigmoid")[0, :, 0]
    torch.testing.assert_close(sigmoid[:, 0], torch.tensor([3 / 4, 4 / 5]))
    torch.testing.assert_close(sigmoid[:, 1], torch.tensor([1.0, 1.0]).sigmoid())
    softmax = region_probabilities(logits, "softmax")[0, :, 0]
    torch.testing.assert_close(softmax[:, 0], torch.tensor([7 / 8, 4 / 8]))
    torch.testing.assert_close(softmax[:, 1], torch.tensor([2 / 3, 1 / 3]))


def test_sigmoid_is_the_softmax_over_a_class_and_a_background_of_0():
    torch.manual_seed(0)
    logits = torch.randn(5, 3, 7, 6) * 4

    probabilities = region_probabilities(logits, "sigmoid")

    for channel in (1, 2):
        pair = torch.stack([torch.zeros_like(logits[:, 0]), logits[:, channel]], dim=1)
        torch.testing.assert_close(probabilities[:, channel - 1], pair.softmax(dim=1)[:, 1])


def test_softmax_equals_algorithm_2_as_printed_and_sums_to_one():
    torch.manual_seed(0)
    logits = torch.randn(5, 3, 7, 6, dtype=torch.float64) * 4

    found = region_probabilities(logits, "softmax")

    for one, z in zip(found, logits, strict=True):
        background, kidney, tumor = algorithm_2(z)
        torch.testing.assert_close(one, torch.stack([kidney + tumor, tumor]))
        torch.testing.assert_close(one[0] + background, torch.ones_like(background))


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_large_logits_overflow_nothing(activation):
    logits = torch.tensor([[-500.0, 0, 500], [500, 0, -500], [300, 300, 300]]).T[None, :, :, None]

    probabilities = region_probabilities(logits, activation)

    assert probabilities.isfinite().all()
    assert region_logits(logits, activation).isfinite().all()
    assert probabilities.min() >= 0
    assert probabilities.max() <= 1


def test_a_box_takes_the_map_of_its_own_class():
    maps = torch.arange(2 * 3.0).view(3, 2, 1, 1)

    assert own_region(maps, torch.tensor([1, 2, 1])).flatten().tolist() == [0, 3, 4]
    assert own_region(maps[:0], torch.tensor([], dtype=torch.int64)).shape == (0, 1, 1, 1)


def test_cells_of_a_box_hold_the_shares_of_the_labels_in_it(slice_with_tumor):
    # the box of the kidney, 8 x 8 pixels, in cells of 2 x 2; pixel i reaches from i - 0.5 to i + 0.5
    box = torch.tensor([[3.5, 1.5, 11.5, 9.5], [7.5, 5.5, 15.5, 13.5]])

    shares = label_shares(target(slice_with_tumor), box, 4)

    inner = torch.zeros(4, 4)
    inner[1:3, 1:3] = 1
    torch.testing.assert_close(shares[0], torch.stack([torch.zeros(4, 4), 1 - inner, inner]))
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(2, 4, 4))
    assert shares[1, :, 0, 0].tolist() == [0, 0, 1]  # the tumor's lower right quarter
    assert shares[1, :, 1, 1].tolist() == [0, 1, 0]
    assert shares[1, :, 3, 3].tolist() == [1, 0, 0]


def test_sigmoid_s_loss_is_torchvision_s(slice_with_tumor):
    torch.manual_seed(0)
    one, boxes, matched = (
        target(slice_with_tumor),
        torch.tensor([[3.0, 1, 12, 10], [5, 3, 10, 9]]),
        torch.tensor([0, 1]),
    )
    logits = torch.randn(2, 3, 14, 14)

    loss = mask_loss(logits, [boxes], [matched], [one], "sigmoid")

    torch.testing.assert_close(loss, maskrcnn_loss(logits, [boxes], [one["masks"]], [one["labels"]], [matched]))


def test_softmax_s_loss_is_the_cross_entropy_with_the_labels_in_the_box(slice_with_tumor):
    torch.manual_seed(0)
    box, logits = torch.tensor([[3.5, 1.5, 11.5, 9.5]]), torch.randn(1, 3, 8, 8)  # a cell for every pixel
    slices = [target(slice_with_tumor), target(torch.zeros_like(slice_with_tumor))]

    loss = mask_loss(logits, [box, torch.zeros(0, 4)], [torch.tensor([0])] * 2, slices, "softmax")

    torch.testing.assert_close(loss, F.cross_entropy(logits, slice_with_tumor[None, 2:10, 4:12].long()))


def test_softmax_learns_the_background_too_and_the_right_probabilities(slice_with_tumor):
    box = torch.tensor([[1.5, -0.5, 13.5, 11.5]])
    logits = nn.Parameter(torch.zeros(1, 3, 12, 12))
    optimizer = torch.optim.Adam([logits], lr=0.5)

    for _ in range(60):
        optimizer.zero_grad()
        mask_loss(logits, [box], [torch.tensor([0])], [target(slice_with_tumor)], "softmax").backward()
        assert (logits.grad.flatten(2).norm(dim=2) > 0).all()
        optimizer.step()

    found = region_probabilities(logits, "softmax")[0] > 0.5
    label = slice_with_tumor[0:12, 2:14]
    assert torch.equal(found, torch.stack([label > 0, label == 2]))
