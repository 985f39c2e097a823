import torch
from torch import Tensor

from kidney_lab.data.body import Box
from kidney_lab.methods.prediction import Prediction, RollingSlices, hull_of_parts, join

SHAPE = (7, 8, 9)
CPU = torch.device("cpu")


def box(*ends: tuple[int, int]) -> Box:
    d, h, w = (slice(*end) for end in ends)
    return d, h, w


def noise(place: Box, seed: int, channels: int = 2) -> Tensor:
    shape = [axis.stop - axis.start for axis in place]
    return torch.rand(channels, *shape, generator=torch.Generator().manual_seed(seed))


def assembled(boxes, parts, channels=2) -> Prediction:
    hull = hull_of_parts(boxes)
    pairs = list(zip(boxes, parts, strict=True))

    def slabs():
        copies = [(place, part.clone()) for place, part in pairs]  # a part is the reader's own
        return join(iter(copies), hull, channels=channels, device=CPU)

    return Prediction(slabs, hull, SHAPE, channels, CPU)


def test_a_single_part_is_handed_on_as_it_is():
    place = box((1, 4), (2, 7), (3, 5))
    part = noise(place, 0)

    (slab,) = join(iter([(place, part)]), place, channels=2, device=CPU)

    assert slab.data_ptr() == part.data_ptr()
    assert torch.equal(slab, part)


def test_overlapping_parts_keep_the_larger_probability_of_each_channel_in_the_box_that_holds_both():
    places = box((0, 4), (0, 4), (0, 4)), box((2, 6), (2, 6), (2, 6))
    parts = [noise(place, seed) for seed, place in enumerate(places)]

    predicted = assembled(places, parts)

    expected = torch.zeros(2, *SHAPE)
    for place, part in zip(places, parts, strict=True):
        expected[(slice(None), *place)] = torch.maximum(expected[(slice(None), *place)], part)
    assert predicted.box == box((0, 6), (0, 6), (0, 6))
    assert torch.equal(predicted.probabilities, expected[(slice(None), *predicted.box)])


def test_slabs_are_the_slices_of_the_whole_in_order_and_a_part_is_let_go_of_once_it_ends():
    places = [box((k, k + 2), (0, 8), (0, 9)) for k in range(0, 6)]
    parts = [noise(place, seed) for seed, place in enumerate(places)]

    predicted = assembled(places, parts)

    expected = torch.zeros(2, *SHAPE)
    for place, part in zip(places, parts, strict=True):
        expected[(slice(None), *place)] = torch.maximum(expected[(slice(None), *place)], part)
    assert torch.equal(torch.cat(list(predicted.slabs()), dim=1), expected)
    assert [slab.shape[1] for slab in predicted.slabs()] == [1, 1, 1, 1, 1, 2]


def test_parts_beside_each_other_share_their_slices():
    places = [box((0, 4), (0, 8), (0, 3)), box((2, 7), (0, 3), (5, 9)), box((3, 7), (1, 6), (1, 9))]
    parts = [noise(place, seed) for seed, place in enumerate(places)]

    predicted = assembled(places, parts)

    expected = torch.zeros(2, *SHAPE)
    for place, part in zip(places, parts, strict=True):
        expected[(slice(None), *place)] = torch.maximum(expected[(slice(None), *place)], part)
    assert torch.equal(predicted.probabilities, expected)


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

    labels = Prediction.held(probabilities, place, SHAPE).labels(lambda p: p.argmax(dim=0).to(torch.uint8))

    expected = torch.zeros(SHAPE, dtype=torch.uint8)
    expected[place] = 2
    assert labels.dtype == torch.uint8
    assert torch.equal(labels, expected)


class TestRollingSlices:
    place = box((1, 7), (0, 2), (0, 3))

    def made(self) -> tuple[Prediction, list[int]]:
        """A prediction in slabs of two slices, and which of them were computed."""
        values, computed = noise(self.place, 0), []

        def slabs():
            for start in range(0, 6, 2):
                computed.append(start)
                yield values[:, start : start + 2]

        return Prediction(slabs, self.place, SHAPE, 2, CPU), computed

    def test_who_goes_on_computes_every_slab_once(self):
        prediction, computed = self.made()
        slices, whole = RollingSlices(prediction), self.made()[0].probabilities

        for start, stop in [(0, 1), (0, 3), (2, 3), (2, 2), (3, 6), (5, 6)]:
            assert torch.equal(slices(start, stop), whole[:, start:stop])

        assert computed == [0, 2, 4]

    def test_who_goes_back_begins_anew(self):
        prediction, computed = self.made()
        slices, whole = RollingSlices(prediction), prediction.probabilities
        computed.clear()
        slices(4, 6)

        assert torch.equal(slices(1, 2), whole[:, 1:2])
        assert computed == [0, 2, 4, 0]

    def test_a_kept_prediction_is_computed_once_and_not_before_it_is_needed(self):
        prediction, computed = self.made()
        kept = prediction.kept()
        assert computed == []

        slices = RollingSlices(kept)
        for _ in range(2):
            assert torch.equal(slices(4, 6), kept.probabilities[:, 4:6])
            assert torch.equal(slices(0, 2), kept.probabilities[:, 0:2])

        assert computed == [0, 2, 4]

    def test_nothing_is_held_beyond_the_slabs_of_the_last_request(self):
        slices = RollingSlices(self.made()[0])
        for stop in range(1, 7):
            slices(stop - 1, stop)
            assert sum(slab.shape[1] for slab in slices._held) == 2
