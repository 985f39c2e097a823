import numpy as np
import torch

from kidney_lab.data.instances import batch_instances, slice_instances
from kidney_lab.labels import CYST, KIDNEY, TUMOR


def slice_of(*parts, shape=(40, 60)) -> np.ndarray:
    label = np.zeros(shape, np.uint8)
    for value, place in parts:
        label[place] = value
    return label


def test_kidneys_are_instances_of_class_1_and_hold_their_masses_and_tumors_are_of_class_2():
    label = slice_of(
        (KIDNEY, np.s_[5:15, 4:20]),
        (TUMOR, np.s_[8:12, 6:11]),
        (KIDNEY, np.s_[6:20, 40:50]),
        (CYST, np.s_[20:24, 42:48]),
    )

    found = slice_instances(label)

    assert found["labels"].tolist() == [1, 1, 2]
    assert found["boxes"].tolist() == [[3.5, 4.5, 19.5, 14.5], [39.5, 5.5, 49.5, 23.5], [5.5, 7.5, 10.5, 11.5]]
    assert found["masks"].sum(dim=(1, 2)).tolist() == [10 * 16, 14 * 10 + 4 * 6, 4 * 5]
    assert torch.equal(found["masks"][0] + found["masks"][1], torch.from_numpy(label > 0).byte())


def test_components_under_sixteen_pixels_are_left_out_and_corners_connect():
    label = slice_of(
        (TUMOR, np.s_[0:4, 0:4]),  # 16 pixels
        (TUMOR, np.s_[10, 10:25]),  # 15
        (KIDNEY, np.s_[20:22, 30:34]),  # twice 8, touching at a corner
        (KIDNEY, np.s_[22:24, 34:38]),
    )

    found = slice_instances(label)

    assert found["labels"].tolist() == [1, 1, 2]
    assert found["boxes"].tolist() == [[0, 0, 3.5, 3.5], [29.5, 19.5, 37.5, 23.5], [0, 0, 3.5, 3.5]]
    assert slice_instances(label, min_pixels=15)["labels"].tolist() == [1, 1, 1, 2, 2]
    assert slice_instances(label, min_pixels=17)["labels"].tolist() == []


def test_empty_slices_give_no_boxes_in_the_types_that_torchvision_takes():
    found = slice_instances(slice_of())

    assert {name: (tuple(value.shape), value.dtype) for name, value in found.items()} == {
        "boxes": ((0, 4), torch.float32),
        "labels": ((0,), torch.int64),
        "masks": ((0, 40, 60), torch.uint8),
    }


def test_a_batch_has_the_instances_of_each_of_its_slices():
    slices = [slice_of((KIDNEY, np.s_[5:15, 4:20])), slice_of(), slice_of((TUMOR, np.s_[1:9, 2:9]))]

    found = batch_instances(torch.from_numpy(np.stack(slices))[:, None])

    assert [one["labels"].tolist() for one in found] == [[1], [], [1, 2]]
    for one, label in zip(found, slices, strict=True):
        assert all(torch.equal(one[name], value) for name, value in slice_instances(label).items())
