import torch
from torch import Tensor

from kidney_lab.data.body import Box
from kidney_lab.methods.prediction import Prediction, assemble

SHAPE = (7, 8, 9)
CPU = torch.device("cpu")


def box(*ends: tuple[int, int]) -> Box:
    d, h, w = (slice(*end) for end in ends)
    return d, h, w


def noise(place: Box, seed: int, channels: int = 2) -> Tensor:
    shape = [axis.stop - axis.start for axis in place]
    return torch.rand(channels, *shape, generator=torch.Generator().manual_seed(seed))


def assembled(boxes, parts, channels=2) -> Prediction:
    return assemble(boxes, iter(parts), SHAPE, channels=channels, device=CPU)


def test_a_single_part_is_the_prediction_as_it_is():
    place = box((1, 4), (2, 7), (3, 5))
    part = noise(place, 0)

    predicted = assembled([place], [part])

    assert (predicted.box, predicted.shape) == (place, SHAPE)
    assert predicted.probabilities is part


def test_overlapping_parts_keep_the_larger_probability_of_each_channel_in_the_box_that_holds_both():
    places = box((0, 4), (0, 4), (0, 4)), box((2, 6), (2, 6), (2, 6))
    parts = [noise(place, seed) for seed, place in enumerate(places)]

    predicted = assembled(places, parts)

    expected = torch.zeros(2, *SHAPE)
    for place, part in zip(places, parts, strict=True):
        expected[(slice(None), *place)] = torch.maximum(expected[(slice(None), *place)], part)
    assert predicted.box == box((0, 6), (0, 6), (0, 6))
    assert torch.equal(predicted.probabilities, expected[(slice(None), *predicted.box)])


def test_the_order_of_the_parts_is_of_no_matter():
    places = [box((0, 4), (0, 8), (0, 3)), box((3, 7), (1, 6), (1, 9)), box((2, 7), (0, 3), (5, 9))]
    parts = [noise(place, seed) for seed, place in enumerate(places)]

    one, other = assembled(places, parts), assembled(places[::-1], parts[::-1])

    assert one.box == other.box
    assert torch.equal(one.probabilities, other.probabilities)


def test_between_parts_nothing_is_predicted():
    places = box((0, 2), (0, 2), (0, 2)), box((5, 7), (6, 8), (7, 9))

    predicted = assembled(places, [noise(place, 1) + 1 for place in places])

    assert predicted.probabilities.shape == (2, *SHAPE)
    assert int((predicted.probabilities[0] > 0).sum()) == 16


def test_without_any_part_the_label_map_is_empty():
    predicted = assembled([], [], channels=3)

    labels = predicted.labels(lambda probabilities: (probabilities[0] > -1).to(torch.uint8))

    assert predicted.probabilities.shape == (3, 0, 0, 0)
    assert labels.shape == SHAPE
    assert not labels.any()


def test_labels_are_background_outside_the_box():
    place = box((1, 3), (2, 4), (0, 9))
    probabilities = torch.zeros(3, 2, 2, 9)
    probabilities[2] = 1.0

    labels = Prediction(probabilities, place, SHAPE).labels(lambda p: p.argmax(dim=0).to(torch.uint8))

    expected = torch.zeros(SHAPE, dtype=torch.uint8)
    expected[place] = 2
    assert labels.dtype == torch.uint8
    assert torch.equal(labels, expected)
