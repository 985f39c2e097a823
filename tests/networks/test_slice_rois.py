import math

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from torchvision.models.detection.roi_heads import project_masks_on_boxes

from kidney_lab.data.instances import slice_instances
from kidney_lab.errors import InputError
from kidney_lab.networks.slice_rois import check_scale, paste, pixel_boxes, roi_pixels, scale_boxes

SIZE = (40, 60)


def boxes(*rows) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def algorithm_1(box, size):
    """Lines 4 to 7 for one box, with the height clipped as the width is; 1-based, as Matlab counts."""

    def matlab_round(value):
        return math.floor(value + 0.5)

    left, top, right, bottom = box
    x, y = matlab_round(left + 1), matlab_round(top + 1)
    w, h = matlab_round(right - left), matlab_round(bottom - top)
    x, y = max(x, 1), max(y, 1)
    w, h = min(w, size[1] - x + 1), min(h, size[0] - y + 1)
    return [x - 1, y - 1, x - 1 + w, y - 1 + h]


def test_boxes_inside_the_slice_are_rounded_as_algorithm_1_rounds_them():
    torch.manual_seed(0)
    corner = torch.rand(200, 2) * torch.tensor([40.0, 20.0])
    inside = torch.cat([corner, corner + 1 + torch.rand(200, 2) * 18], dim=1)

    assert pixel_boxes(inside, SIZE).tolist() == [algorithm_1(box, SIZE) for box in inside.tolist()]


def test_a_box_over_the_lower_and_right_border_loses_height_as_well_as_width():
    over = boxes([49.5, 29.5, 70.5, 55.5])

    assert pixel_boxes(over, SIZE).tolist() == [[50, 30, 60, 40]] == [algorithm_1(over[0].tolist(), SIZE)]


def test_a_box_over_the_upper_and_left_border_keeps_its_other_ends():
    assert pixel_boxes(boxes([-5.5, -3.5, 9.5, 7.5]), SIZE).tolist() == [[0, 0, 10, 8]]


@pytest.mark.parametrize(
    ("box", "pixel"),
    [([6.5, 3.5, 7.5, 4.5], (4, 7)), ([6.9, 3.9, 7.1, 4.1], (4, 7)), ([59.7, 39.8, 60.0, 40.0], (39, 59))],
)
def test_the_smallest_box_is_one_pixel(box, pixel):
    assert roi_pixels(boxes(box), SIZE)[0].nonzero().tolist() == [list(pixel)]


def test_the_pixels_of_boxes_are_those_between_their_ends():
    pixels = roi_pixels(boxes([9.5, 4.5, 19.5, 11.5], [49.5, 29.5, 70.5, 55.5]), SIZE)

    assert pixels.shape == (2, *SIZE)
    assert pixels[0].sum() == 70
    assert pixels[0, 5:12, 10:20].all()
    assert pixels[1].sum() == 100
    assert pixels[1, 30:, 50:].all()


def test_a_scale_enlarges_about_the_middle_and_stays_on_the_slice():
    found = boxes([20, 10, 30, 20], [0, 30, 40, 40])

    assert scale_boxes(found, SIZE, 1.5).tolist() == [[17.5, 7.5, 32.5, 22.5], [0, 27.5, 50, 40]]
    assert scale_boxes(found, SIZE, math.inf).tolist() == [[0, 0, 60, 40]] * 2
    odd = boxes([1.1, 2.3, 44.7, 33.9])
    assert torch.equal(scale_boxes(odd, SIZE, 1.0), odd)
    line = boxes([20, 10, 20, 30])
    assert scale_boxes(line, SIZE, math.inf).tolist() == [[0, 0, 60, 40]]


def test_only_numbers_from_1_on_are_scales():
    for scale in (1, 1.5, math.inf):
        check_scale(scale)
    for wrong in (0.5, -1, math.nan, -math.inf, "abc", None, True):
        with pytest.raises(
            InputError, match=r"model\.roi\.scale=.* is out of range: give a number of at least 1, or inf"
        ):
            check_scale(wrong)


def test_no_boxes_give_nothing_everywhere():
    none = boxes()

    assert scale_boxes(none, SIZE, 1.5).shape == (0, 4)
    assert pixel_boxes(none, SIZE).shape == (0, 4)
    assert roi_pixels(none, SIZE).shape == (0, *SIZE)
    assert paste(torch.zeros(0, 2, 28, 28), none, SIZE).shape == (0, 2, *SIZE)


def test_pasted_maps_equal_scipy_s_interpolation_at_the_pixels_centres():
    maps, box = torch.rand(1, 2, 7, 9), [8.3, 5.1, 41.9, 30.6]

    pasted = paste(maps, boxes(box), SIZE)[0]

    rows = (np.arange(SIZE[0]) - box[1]) / (box[3] - box[1]) * 7 - 0.5
    columns = (np.arange(SIZE[1]) - box[0]) / (box[2] - box[0]) * 9 - 0.5
    where = np.meshgrid(rows, columns, indexing="ij")
    for channel in (0, 1):
        expected = map_coordinates(maps[0, channel].numpy(), where, order=1, mode="grid-constant")
        torch.testing.assert_close(pasted[channel], torch.from_numpy(expected), rtol=1e-4, atol=1e-5)


def test_a_map_with_a_cell_for_every_pixel_is_laid_on_these_pixels_alone():
    maps = torch.rand(1, 1, 6, 8)

    pasted = paste(maps, boxes([9.5, 3.5, 17.5, 9.5]), SIZE)[0, 0]

    torch.testing.assert_close(pasted[4:10, 10:18], maps[0, 0])
    pasted[4:10, 10:18] = 0
    assert pasted.abs().max() < 1e-5


def test_masks_pooled_as_the_mask_branch_learns_them_come_back_to_their_pixels():
    rows, columns = np.mgrid[:96, :96]
    disc = ((rows - 41.5) ** 2 + (columns - 52.5) ** 2 < 14**2).astype(np.uint8)  # as many pixels across as cells
    target = slice_instances(disc)

    pooled = project_masks_on_boxes(target["masks"], target["boxes"], torch.zeros(1, dtype=torch.int64), 28)
    pasted = paste(pooled[:, None], target["boxes"], disc.shape)[0, 0] > 0.5

    assert np.array_equal(pasted.numpy(), disc > 0)
