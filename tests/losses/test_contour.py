import numpy as np
import pytest
import torch
from monai.losses import DiceCELoss
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from kidney_lab.errors import InputError
from kidney_lab.losses.contour import ContourSupervisionLoss, contour
from kidney_lab.networks.attention_vnet import SegmentationAndContour


def one_hot(labels: Tensor, classes: int = 3) -> Tensor:
    """`(B, D, H, W)` to `(B, C, D, H, W)`."""
    return F.one_hot(labels, classes).movedim(-1, 1).float()


def blocks(seed: int = 0) -> Tensor:
    """Labels of two samples, in blocks so that not every voxel is contour, `(2, 10, 10, 12)`."""
    drawn = torch.randint(3, (2, 2, 2, 2), generator=torch.Generator().manual_seed(seed))
    return drawn.repeat_interleave(5, 1).repeat_interleave(5, 2).repeat_interleave(6, 3)


def test_the_contour_of_a_cube_is_a_shell_of_two_voxels() -> None:
    labels = torch.zeros(1, 9, 9, 9, dtype=torch.int64)
    labels[:, 3:6, 3:6, 3:6] = 1
    shell = torch.zeros(9, 9, 9, dtype=torch.bool)
    shell[2:7, 2:7, 2:7] = True  # the cube dilated
    shell[4, 4, 4] = False  # the cube eroded
    assert torch.equal(contour(one_hot(labels))[0, 0], shell)
    assert shell.sum() == 5**3 - 1


@pytest.mark.parametrize("nested", [False, True], ids=["labels", "regions"])
def test_the_contour_is_the_union_of_the_channels_dilations_minus_erosions(nested: bool) -> None:
    target = torch.stack([blocks() > 0, blocks() > 1], dim=1).float() if nested else one_hot(blocks())
    box = np.ones((3, 3, 3), dtype=bool)
    for sample in range(2):
        masks = [channel.numpy().astype(bool) for channel in target[sample]]
        rings = [ndimage.binary_dilation(m, box) & ~ndimage.binary_erosion(m, box, border_value=1) for m in masks]
        assert np.array_equal(contour(target)[sample, 0].numpy(), np.any(rings, axis=0))


def test_nested_regions_have_the_contour_of_their_labels() -> None:
    regions = torch.stack([blocks() > 0, blocks() > 1], dim=1).float()
    assert torch.equal(contour(regions), contour(one_hot(blocks())))


def test_the_edge_of_a_patch_is_no_contour() -> None:
    assert not contour(one_hot(torch.ones(1, 4, 4, 4, dtype=torch.int64))).any()


def test_fifteen_channels_are_told_apart() -> None:
    labels = torch.full((1, 4, 4, 4), 13)
    labels[..., 2:] = 14
    assert contour(one_hot(labels, 15))[0, 0, 0, 0].tolist() == [False, True, True, False]


def test_a_contour_head_adds_its_binary_cross_entropy() -> None:
    target = one_hot(blocks())
    logits, edge = torch.randn(2, 3, 10, 10, 12), torch.randn(2, 1, 10, 10, 12)
    segmentation = DiceCELoss(softmax=True)
    probability = edge.sigmoid()
    expected = -torch.where(contour(target), probability, 1 - probability).log().mean()
    for weight in (1.0, 0.3):
        loss = ContourSupervisionLoss(segmentation, weight=weight)
        both = loss(SegmentationAndContour(logits, edge), target)
        torch.testing.assert_close(both - segmentation(logits, target), weight * expected)


def test_logits_alone_have_the_segmentation_s_loss() -> None:
    target, logits = one_hot(blocks()), torch.randn(2, 3, 10, 10, 12)
    segmentation = DiceCELoss(softmax=True)
    torch.testing.assert_close(ContourSupervisionLoss(segmentation)(logits, target), segmentation(logits, target))


def test_a_head_that_marks_the_contour_costs_nothing() -> None:
    target = one_hot(blocks())
    head = 200 * contour(target).float() - 100
    loss = ContourSupervisionLoss(DiceCELoss(softmax=True))
    assert loss((100 * target, head), target).item() == pytest.approx(0, abs=1e-4)


def test_half_precision_of_the_head_is_computed_in_full() -> None:
    target, logits = one_hot(blocks()), torch.randn(2, 3, 10, 10, 12)
    edge = torch.randn(2, 1, 10, 10, 12).bfloat16()
    loss = ContourSupervisionLoss(DiceCELoss(softmax=True))
    torch.testing.assert_close(loss((logits, edge), target), loss((logits, edge.float()), target))


def test_a_negative_weight_is_refused() -> None:
    message = r"model\.boundary_head_weight=.* must be a number of 0 or more: write 0 to leave it out"
    with pytest.raises(InputError, match=message):
        ContourSupervisionLoss(DiceCELoss(), weight=float("nan"))
    with pytest.raises(InputError, match=message):
        ContourSupervisionLoss(DiceCELoss(), weight=-1)
