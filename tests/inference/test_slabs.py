import numpy as np
import pytest
import torch

from kidney_lab.inference import restore
from kidney_lab.inference.slabs import distribution, hull_of, label_map, region_probability, slab_in
from kidney_lab.methods.output import LabelOutput, RegionOutput
from kidney_lab.methods.prediction import join

BINARY = RegionOutput([], ["kidney_and_mass"])


def test_a_label_map_is_background_outside_the_box(said):
    box = (slice(1, 20), slice(2, 4), slice(0, 3))
    values = torch.rand((1, 19, 2, 3), generator=torch.Generator().manual_seed(0))

    labels = label_map(said(values, BINARY, box, (22, 5, 6)))

    expected = np.zeros((22, 5, 6), np.uint8)
    expected[box] = values[0] > 0.5
    np.testing.assert_array_equal(labels, expected)
    assert labels.dtype == np.uint8


def test_the_hull_holds_all_boxes_and_those_that_hold_nothing_do_not_count():
    one, other = (slice(2, 4), slice(5, 9), slice(0, 3)), (slice(3, 8), slice(4, 6), slice(1, 2))

    assert hull_of([one, other, (slice(0, 0),) * 3]) == (slice(2, 8), slice(4, 9), slice(0, 3))
    assert hull_of([(slice(0, 0),) * 3]) == (slice(0, 0),) * 3


@pytest.mark.parametrize("part", [slice(0, 2), slice(1, 5), slice(3, 4), slice(5, 8), slice(0, 8)])
def test_in_a_larger_box_there_is_nothing_beside_a_member_s_own(said, part):
    own, larger = (slice(2, 6), slice(1, 3), slice(4, 5)), (slice(0, 8), slice(0, 4), slice(2, 7))
    values = torch.rand((2, 4, 2, 1), generator=torch.Generator().manual_seed(1))
    member = said(values, RegionOutput([], ["kidney_and_mass", "tumor"]), own, (8, 6, 7))
    whole = torch.zeros(2, 8, 6, 7)
    whole[(slice(None), *own)] = values

    torch.testing.assert_close(slab_in(member, larger, part), whole[:, part, 0:4, 2:7], rtol=0, atol=0)


def test_a_region_is_as_probable_as_its_labels_together():
    slab = torch.tensor([0.4, 0.3, 0.2, 0.1]).view(4, 1, 1, 1)
    output = LabelOutput(["kidney", "tumor", "cyst"], ["kidney_and_mass", "mass", "tumor"])

    regions = {"kidney_and_mass": 0.6, "mass": 0.3, "tumor": 0.2, "cyst": 0.1}
    assert {region: region_probability(slab, output, region).item() for region in regions} == pytest.approx(regions)


def test_where_windows_overlap_and_probabilities_sum_to_more_than_1_they_are_shares_of_the_sum():
    boxes = [(slice(0, 1), slice(0, 1), slice(0, 2)), (slice(0, 1), slice(0, 1), slice(1, 3))]
    parts = [torch.tensor([0.7, 0.2, 0.1]).view(3, 1, 1, 1), torch.tensor([0.1, 0.5, 0.4]).view(3, 1, 1, 1)]
    parts = [part.expand(3, 1, 1, 2) for part in parts]
    hull = (slice(0, 1), slice(0, 1), slice(0, 3))
    (whole,) = join(zip(boxes, parts, strict=True), hull, channels=3, device=torch.device("cpu"))
    output = LabelOutput(["kidney", "tumor"], ["kidney_and_mass", "tumor"])

    # in the middle 0.7, 0.5 and 0.4, which sum to 1.6
    found = {region: region_probability(whole, output, region).flatten().tolist() for region in output.regions}
    assert found["kidney_and_mass"] == pytest.approx([0.3, 0.9 / 1.6, 0.9])
    assert found["tumor"] == pytest.approx([0.1, 0.4 / 1.6, 0.4])
    shares = distribution(whole, output)
    assert shares.sum(dim=0).flatten().tolist() == pytest.approx([1, 1, 1])
    assert torch.equal(output.decide(shares), output.decide(whole))


def test_what_sums_to_less_than_1_and_regions_that_overlap_are_left_alone():
    slab = torch.tensor([[0.5, 0.0], [0.25, 0.0], [0.0, 0.0]]).view(3, 1, 1, 2)  # at a border, and outside

    assert torch.equal(distribution(slab, LabelOutput(["kidney", "tumor"], ["tumor"])), slab)
    nested = torch.tensor([0.9, 0.8]).view(2, 1, 1, 1)
    assert torch.equal(distribution(nested, RegionOutput([], ["kidney_and_mass", "tumor"])), nested)


def test_a_region_is_as_probable_as_the_most_probable_one_inside_it():
    slab = torch.tensor([0.4, 0.7, 0.2]).view(3, 1, 1, 1)
    output = RegionOutput([], ["kidney_and_mass", "mass", "tumor"])

    found = [region_probability(slab, output, region).item() for region in output.regions]
    assert found == pytest.approx([0.7, 0.7, 0.2])
    assert output.decide(slab).item() == 3  # painted as the mass, and so as kidney_and_mass


def test_whoever_observes_is_shown_every_slab_once_in_order(said, monkeypatch):
    monkeypatch.setattr(restore, "SLAB", 3)
    values, box = np.random.default_rng(0).random((1, 8, 3, 4)), (slice(1, 9), slice(0, 3), slice(1, 5))
    shown = []

    member = said(values, BINARY, box, (10, 4, 6))
    labels = label_map(member, lambda part, slab: shown.append((part, slab.clone())))

    assert [part for part, _ in shown] == [slice(1, 4), slice(4, 7), slice(7, 9)]
    np.testing.assert_array_equal(torch.cat([slab for _, slab in shown], dim=1), values.astype(np.float32))
    np.testing.assert_array_equal(labels, label_map(member))
