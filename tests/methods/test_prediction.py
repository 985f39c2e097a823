import numpy as np
import pytest
import torch
from torch import Tensor

from kidney_lab.methods.prediction import Prediction, predict_in_boxes, read_padded, whole

SHAPE = (7, 8, 9)
IMAGE = torch.arange(float(np.prod(SHAPE))).reshape(1, *SHAPE) + 1


class Spy:
    """Predicts the first channel, and what is in the middle of it; keeps what it sees."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def __call__(self, part: Tensor) -> Tensor:
        self.seen.append(part.clone())
        return torch.cat([part[:, :1], part[:, :1] * len(self.seen)], dim=1)


def box(*ends: tuple[int, int]) -> tuple[slice, slice, slice]:
    d, h, w = (slice(*end) for end in ends)
    return d, h, w


def predict_image(image, boxes, infer, *, smallest=(1, 1, 1), fill=0.0) -> Prediction:
    def read_and_infer(box) -> Tensor:
        return infer(read_padded(image, box, fill)[None])[0]

    return predict_in_boxes(tuple(image.shape[1:]), boxes, read_and_infer, smallest=smallest)


def predict(*boxes, image=IMAGE, smallest=(1, 1, 1)) -> tuple[Prediction, list[Tensor]]:
    spy = Spy()
    return predict_image(image, boxes, spy, smallest=smallest, fill=-5.0), spy.seen


def test_a_box_is_predicted_alone_and_goes_to_its_place():
    place = box((1, 4), (2, 7), (3, 5))

    predicted, seen = predict(place)

    assert (predicted.box, predicted.shape) == (place, SHAPE)
    assert torch.equal(seen[0], IMAGE[(slice(None), *place)][None])
    assert torch.equal(predicted.probabilities[0], IMAGE[0][place])


def test_the_whole_volume_is_a_box():
    predicted, (seen,) = predict(whole(SHAPE))

    assert predicted.box == box((0, 7), (0, 8), (0, 9))
    assert torch.equal(seen, IMAGE[None])


def test_beyond_the_volume_lies_the_fill_and_no_prediction():
    image = torch.cat([IMAGE, IMAGE + 1000])
    predicted, (seen,) = predict(box((-2, 3), (5, 10), (7, 11)), image=image)

    padded = np.pad(image.numpy(), ((0, 0), (2, 0), (0, 2), (0, 2)), constant_values=-5.0)
    expected = padded[:, 0:5, 5:10, 7:11]
    np.testing.assert_array_equal(seen[0], expected)
    assert predicted.box == box((0, 3), (5, 8), (7, 9))
    assert torch.equal(predicted.probabilities[0], IMAGE[0][predicted.box])


@pytest.mark.parametrize("size", [3, 4, 5, 20])
def test_a_box_smaller_than_a_window_is_enlarged_about_its_middle(size):
    place = box((2, 4), (3, 6), (4, 5))

    predicted, (seen,) = predict(place, smallest=(size, size, size))

    assert seen.shape[2:] == (size, max(size, 3), size)
    assert predicted.box == place  # what was read beside it is not predicted
    assert torch.equal(predicted.probabilities[0], IMAGE[0][place])
    middle = [(n - (axis.stop - axis.start)) // 2 for n, axis in zip(seen.shape[2:], place, strict=True)]
    d, h, w = (slice(m, m + axis.stop - axis.start) for m, axis in zip(middle, place, strict=True))
    assert torch.equal(seen[0, 0][d, h, w], IMAGE[0][place])


def test_a_box_larger_than_a_window_keeps_its_size():
    _, (seen,) = predict(box((1, 6), (1, 6), (1, 6)), smallest=(3, 3, 3))

    assert seen.shape[2:] == (5, 5, 5)


def test_overlapping_boxes_keep_the_larger_probability_of_each_channel_in_the_box_that_holds_both():
    first, second = box((0, 4), (0, 4), (0, 4)), box((2, 6), (2, 6), (2, 6))

    def infer(part: Tensor) -> Tensor:
        value = 0.3 if part.flatten()[0] == 1 else 0.6  # the first box begins with the volume's first voxel
        return torch.stack([torch.full(part.shape[2:], value), torch.full(part.shape[2:], 1 - value)])[None]

    predicted = predict_image(IMAGE, [first, second], infer)

    expected = torch.zeros(2, *SHAPE)
    expected[(slice(None), *first)] = torch.tensor([0.3, 0.7]).view(2, 1, 1, 1)
    expected[(0, *second)] = 0.6
    expected[1][second] = torch.maximum(expected[1][second], torch.tensor(0.4))
    assert predicted.box == box((0, 6), (0, 6), (0, 6))
    assert torch.allclose(predicted.probabilities, expected[(slice(None), *predicted.box)])


def test_the_order_of_the_boxes_is_of_no_matter():
    boxes = box((0, 4), (0, 8), (-2, 3)), box((3, 7), (1, 6), (1, 9)), box((2, 9), (0, 3), (5, 9))

    def infer(part: Tensor) -> Tensor:
        return torch.cat([part, part.flip(2)], dim=1)

    one, other = (predict_image(IMAGE, order, infer, smallest=(5, 5, 5)) for order in (boxes, boxes[::-1]))

    assert one.box == other.box
    assert torch.equal(one.probabilities, other.probabilities)


def test_between_boxes_nothing_is_predicted():
    predicted, seen = predict(box((0, 2), (0, 2), (0, 2)), box((5, 7), (6, 8), (7, 9)))

    assert len(seen) == 2
    assert predicted.probabilities.shape == (2, *SHAPE)
    assert int((predicted.probabilities[0] > 0).sum()) == 16


def test_no_box_is_a_mistake():
    with pytest.raises(ValueError, match="there is no box"):
        predict()


def test_labels_are_background_outside_the_box():
    place = box((1, 3), (2, 4), (0, 9))
    probabilities = torch.zeros(3, 2, 2, 9)
    probabilities[2] = 1.0

    labels = Prediction(probabilities, place, SHAPE).labels(lambda p: p.argmax(dim=0).to(torch.uint8))

    expected = torch.zeros(SHAPE, dtype=torch.uint8)
    expected[place] = 2
    assert labels.dtype == torch.uint8
    assert torch.equal(labels, expected)
