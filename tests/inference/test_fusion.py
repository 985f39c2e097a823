import numpy as np
import pytest
import torch

from kidney_lab.inference import restore
from kidney_lab.inference.fusion import Fused, TieTaking, same_channels, weighted_mean, with_background
from kidney_lab.inference.slabs import label_map
from kidney_lab.methods.output import LabelOutput, RegionOutput

BINARY = RegionOutput([], ["kidney_and_mass"])
LABELS = LabelOutput(["kidney", "tumor"], ["kidney_and_mass", "tumor"])
NESTED = RegionOutput([], ["kidney_and_mass", "tumor"])


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


class TestMean:
    def test_it_is_the_weighted_mean_of_every_channel(self):
        values = [random(3, 4, 5, seed=seed) for seed in range(4)]
        weights = [[1.0, 0.0, 2.0], [3.0, 1.0, 1.0], [0.5, 2.0, 0.0], [1.0, 1.0, 1.0]]
        values[0][1], values[2][2] = 0, 0  # of which nothing is said

        found = weighted_mean(iter(values), [torch.tensor(weight) for weight in weights])

        expected = np.stack(
            [np.average([v[c] for v in values], axis=0, weights=[w[c] for w in weights]) for c in range(3)]
        )
        np.testing.assert_allclose(found, expected, atol=1e-6)

    @pytest.mark.parametrize("weight", [1.0, 0.85, 1e-3])
    @pytest.mark.parametrize("members", [1, 3, 7])
    def test_of_members_that_agree_it_is_what_they_say_bit_for_bit(self, members, weight):
        value = random(2, 9, 8, 7)

        assert torch.equal(weighted_mean([value] * members, [torch.full((2,), weight)] * members), value)

    @pytest.mark.parametrize("members", range(2, 13, 2))
    def test_half_of_the_votes_is_a_half(self, members):
        votes = [torch.full((1, 1), float(k < members / 2)) for k in range(members)]

        assert weighted_mean(votes, [torch.ones(1)] * members).item() == 0.5


def test_members_on_different_boxes_meet_on_the_scan(said):
    left = said(np.full((1, 6, 4, 3), 0.8), BINARY, (slice(0, 6), slice(0, 4), slice(0, 3)), (9, 4, 8))
    right = said(np.full((1, 5, 4, 6), 0.4), BINARY, (slice(4, 9), slice(0, 4), slice(2, 8)), (9, 4, 8))

    fused = Fused([left, right], [1.0, 1.0], BINARY, votes=False)

    assert fused.box == (slice(0, 9), slice(0, 4), slice(0, 8))
    expected = torch.zeros(2, 9, 4, 8)
    expected[0, :6, :, :3], expected[1, 4:, :, 2:] = 0.8, 0.4
    torch.testing.assert_close(fused.slab(slice(0, 9))[0], expected.mean(dim=0))


@pytest.mark.parametrize("slab", [1, 3, 1000])
@pytest.mark.parametrize("votes", [False, True])
def test_slabs_change_nothing(said, monkeypatch, slab, votes):
    members = [said(random(3, 40, 5, 6, seed=seed).softmax(dim=0), LABELS) for seed in range(3)]
    fused = Fused(members, [1.0, 2.0, 3.0], NESTED if votes else LABELS, votes=votes)
    usual = label_map(fused)

    monkeypatch.setattr(restore, "SLAB", slab)

    np.testing.assert_array_equal(label_map(fused), usual)


def test_a_softmax_that_says_nothing_of_a_voxel_counts_as_sure_of_the_background(said):
    sure = said(torch.tensor([0.4, 0.6, 0.0]).view(3, 1, 1, 1), LABELS)
    nowhere = said(np.empty((3, 0, 1, 1)), LABELS, (slice(0, 0), slice(0, 1), slice(0, 1)), (1, 1, 1))

    slab = Fused([sure, nowhere], [1.0, 1.0], LABELS, votes=False).slab(slice(0, 1))

    assert slab.flatten().tolist() == pytest.approx([0.7, 0.3, 0.0])


def test_a_member_whose_windows_overlap_counts_no_more_than_another(said):
    overlapping = said(torch.tensor([0.2, 1.0, 0.8]).view(3, 1, 1, 1), LABELS)  # larger ones of two windows
    other = said(torch.tensor([0.5, 0.1, 0.4]).view(3, 1, 1, 1), LABELS)

    fused = Fused([overlapping, other], [1.0, 1.0], LABELS, votes=False)

    assert fused.slab(slice(0, 1)).flatten().tolist() == pytest.approx([0.3, 0.3, 0.4])  # halves of sums of 1
    assert [told.item() for told in fused.by_member("tumor", slice(0, 1))[0]] == pytest.approx([0.4, 0.4])


def test_the_background_is_left_alone_where_something_is_said():
    slab = torch.tensor([[0.2, 0.0], [0.1, 0.0]]).view(2, 1, 1, 2)

    assert with_background(slab).flatten().tolist() == pytest.approx([0.2, 1.0, 0.1, 0.0])
    assert with_background(slab[..., :1]) is not None
    assert torch.equal(with_background(slab[..., :1]), slab[..., :1])


def test_members_of_other_channels_are_averaged_as_regions_by_those_that_know_them(said):
    labels = said(torch.tensor([0.3, 0.5, 0.2]).view(3, 1, 1, 1), LABELS)
    nested = said(torch.tensor([0.4, 0.9]).view(2, 1, 1, 1), NESTED)
    kidney = said(torch.tensor([0.1]).view(1, 1, 1, 1), BINARY)

    slab = Fused([kidney, labels, nested], [1.0, 2.0, 1.0], NESTED, votes=False).slab(slice(0, 1))

    # kidney_and_mass: 0.1, 0.5 + 0.2, and 0.9, since the tumor lies inside; tumor: 0.2 and 0.9
    assert slab.flatten().tolist() == pytest.approx([(0.1 + 2 * 0.7 + 0.9) / 4, (2 * 0.2 + 0.9) / 3])


def test_votes_are_of_label_maps(said):
    labels = said(torch.tensor([0.4, 0.3, 0.3]).view(3, 1, 1, 1), LABELS)  # decides on background
    nested = said(torch.tensor([0.4, 0.9]).view(2, 1, 1, 1), NESTED)  # on tumor

    slab = Fused([labels, nested], [1.0, 3.0], NESTED, votes=True).slab(slice(0, 1))

    assert slab.flatten().tolist() == [0.75, 0.75]


def test_what_each_member_says_of_a_region_is_told_with_its_weight(said):
    members = [
        said(torch.tensor([0.3, 0.5, 0.2]).view(3, 1, 1, 1), LABELS),
        said(torch.tensor([0.1]).view(1, 1, 1, 1), BINARY),
        said(torch.tensor([0.8, 0.6]).view(2, 1, 1, 1), NESTED),
    ]
    fused = Fused(members, [1.0, 2.0, 3.0], NESTED, votes=False)

    told, weights = fused.by_member("tumor", slice(0, 1))

    assert [value.item() for value in told] == pytest.approx([0.2, 0.6])
    assert weights == [1.0, 3.0]
    assert [fused.knowing(region) for region in ("kidney_and_mass", "mass", "tumor")] == [3, 0, 2]


def test_half_of_a_mean_of_masks_is_the_region():
    half = torch.tensor([0.5, 0.4999, 0.5001]).view(1, 3)

    assert TieTaking([], ["tumor"]).decide(half).tolist() == [2, 0, 2]
    assert RegionOutput([], ["tumor"]).decide(half).tolist() == [0, 0, 2]


def test_channels_are_the_same_where_they_mean_the_same():
    assert same_channels(LABELS, LabelOutput(["kidney", "tumor"], ["tumor"]))
    assert not same_channels(LABELS, LabelOutput(["kidney", "tumor", "cyst"], LABELS.regions))
    assert not same_channels(LABELS, NESTED)
    assert same_channels(NESTED, RegionOutput(["kidney"], ["kidney_and_mass", "tumor"]))
    assert not same_channels(NESTED, BINARY)
    assert not same_channels(NESTED, TieTaking([], ["kidney_and_mass", "tumor"]))
