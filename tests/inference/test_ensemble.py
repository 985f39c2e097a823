import numpy as np
import pytest
import torch

from kidney_lab.errors import InputError
from kidney_lab.inference.ensemble import Ensemble
from kidney_lab.inference.slabs import label_map
from kidney_lab.methods.output import LabelOutput, RegionOutput

BINARY = RegionOutput([], ["kidney_and_mass"])
LABELS = LabelOutput(["kidney", "tumor", "cyst"], ["kidney_and_mass", "mass", "tumor"])
COMBINATIONS = ["mean", "majority", "average_of_masks"]


@pytest.fixture
def constants(said):
    """Members of a voxel each, which say a kidney with these probabilities."""

    def make(*probabilities):
        members = {str(k): said(np.full((1, 1, 1, 1), p), BINARY) for k, p in enumerate(probabilities)}
        return members

    return make


def decision(ensemble, members):
    return label_map(ensemble(members)).item()


def test_three_constant_members_have_the_mean_of_the_specification(constants):
    fused = Ensemble()(constants(0.2, 0.6, 0.9))

    assert fused.slab(slice(0, 1)).item() == pytest.approx(0.567, abs=5e-4)
    assert label_map(fused).item() == 1


def test_mean_and_majority_differ_where_one_is_surer_than_the_others_doubt(constants):
    members = constants(0.9, 0.4, 0.4)

    assert decision(Ensemble("mean"), members) == 1  # 0.567
    assert decision(Ensemble("majority"), members) == 0
    assert decision(Ensemble("average_of_masks"), members) == 0


@pytest.mark.parametrize(("combine", "expected"), [("majority", 0), ("average_of_masks", 1)])
def test_a_tie_is_background_for_a_majority_and_the_region_for_the_mean_of_masks(constants, combine, expected):
    assert decision(Ensemble(combine), constants(0.9, 0.1)) == expected
    assert decision(Ensemble(combine), constants(0.9, 0.1, 0.2, 0.8, 0.7, 0.3)) == expected


def test_three_members_have_one_majority_by_either_name(said):
    members = {str(seed): said(np.random.default_rng(seed).random((1, 4, 5, 6)), BINARY) for seed in range(3)}

    one, other = (label_map(Ensemble(combine)(members)) for combine in ("majority", "average_of_masks"))

    masks = np.stack([member.probabilities[0] > 0.5 for member in members.values()])
    np.testing.assert_array_equal(one, masks.sum(axis=0) >= 2)
    np.testing.assert_array_equal(other, one)


@pytest.mark.parametrize("combine", COMBINATIONS)
def test_one_member_is_its_own_ensemble(said, combine):
    alone = said(torch.rand(4, 5, 6, 7).softmax(dim=0), LABELS)

    assert Ensemble(combine)({"a": alone}) is alone
    assert Ensemble(combine).output({"a": LABELS}) is LABELS
    assert Ensemble(combine, weights=[0.3])({"a": alone}) is alone


@pytest.mark.parametrize("combine", COMBINATIONS)
@pytest.mark.parametrize("output", [LABELS, RegionOutput([], LABELS.regions)], ids=["labels", "regions"])
def test_members_that_agree_decide_as_each_of_them(said, output, combine):
    values = torch.rand((output.channels, 6, 7, 8), generator=torch.Generator().manual_seed(5))
    alone = said(values / values.sum(dim=0) if output is LABELS else values, output)

    labels = label_map(Ensemble(combine)({"a": alone, "b": alone, "c": alone}))

    np.testing.assert_array_equal(labels, label_map(alone))


def test_labels_are_averaged_channel_by_channel_and_the_most_probable_one_wins(said):
    one, other = (
        said(torch.tensor(values).view(4, 1, 1, 1), LABELS) for values in ([0.4, 0.3, 0.3, 0.0], [0.1, 0.2, 0.6, 0.1])
    )

    fused = Ensemble()({"a": one, "b": other})

    assert fused.output is LABELS
    assert fused.slab(slice(0, 1)).flatten().tolist() == pytest.approx([0.25, 0.25, 0.45, 0.05])
    assert label_map(fused).item() == 2


def test_labels_and_regions_meet_as_regions_from_the_outermost_inward(said):
    labels = said(torch.tensor([0.1, 0.2, 0.7, 0.0]).view(4, 1, 1, 1), LABELS)
    kidney = said(torch.tensor([0.8]).view(1, 1, 1, 1), BINARY)
    ensemble = Ensemble()

    fused = ensemble({"a": labels, "b": kidney})

    assert fused.output.regions == ("kidney_and_mass", "mass", "tumor")
    assert ensemble.output({"a": LABELS, "b": BINARY}).regions == fused.output.regions
    # kidney_and_mass of both; mass and tumor of the one that knows them
    assert fused.slab(slice(0, 1)).flatten().tolist() == pytest.approx([0.85, 0.7, 0.7])
    assert label_map(fused).item() == 2


class TestWeights:
    def test_they_weigh_probabilities_and_votes(self, constants):
        members = constants(0.9, 0.4, 0.4)

        assert Ensemble(weights=[1, 3, 0])(members).slab(slice(0, 1)).item() == pytest.approx((0.9 + 3 * 0.4) / 4)
        assert decision(Ensemble("majority", weights=[3, 1, 1]), members) == 1
        assert decision(Ensemble("majority", weights=[2, 1, 1]), members) == 0
        assert decision(Ensemble("average_of_masks", weights=[2, 1, 1]), members) == 1

    def test_a_member_without_weight_takes_no_part(self, said):
        kidney = said(torch.tensor([0.8]).view(1, 1, 1, 1), BINARY)
        tumor = said(torch.tensor([0.8]).view(1, 1, 1, 1), RegionOutput([], ["tumor"]))
        ensemble = Ensemble(weights=[1.0, 0.0])

        assert ensemble({"a": kidney, "b": tumor}) is kidney
        assert ensemble.output({"a": BINARY, "b": tumor.output}) is BINARY
        assert ensemble.asks(["a", "b"]) == ["a"]

    def test_they_are_the_validation_dice_once_the_ensemble_is_weighed(self):
        dice = {"a": {"tumor": 0.25}, "b": {"tumor": 0.75}}

        weighed = Ensemble("majority", weights="validation_dice", uncertainty=True).weighed(["a", "b"], lambda: dice)

        assert weighed == Ensemble("majority", weights=[0.25, 0.75], uncertainty=True)

    def test_equal_weights_need_no_dice(self):
        def never():
            raise AssertionError

        assert Ensemble().weighed(["a", "b"], never).weights == [1.0, 1.0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"combine": "median"}, r"model\.combine=median is unknown: choose one of mean, majority, average_of_masks"),
        ({"weights": "best"}, r"model\.member_weights=best is unknown: choose equal, validation_dice, or a list"),
        ({"weights": [0.0, 0]}, r"model\.member_weights=\[0\.0, 0\] are no weights: give numbers of 0 or more"),
        ({"uncertainty": "yes"}, r"model\.uncertainty=yes is no switch: give true or false"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Ensemble(**settings)


@pytest.mark.parametrize(
    ("settings", "members", "message"),
    [
        ({}, [], r"no member: name encoders in model\.members, or finished runs in model\.member_runs"),
        ({"weights": [1.0, 2.0]}, ["a"], r"member_weights=\[1\.0, 2\.0\] has 2 numbers for 1 member \(a\)"),
        (
            {"uncertainty": True},
            ["a"],
            r"model\.uncertainty=true compares members, and the ensemble has a single one \(a\): ",
        ),
        ({"uncertainty": True, "weights": [0, 1]}, ["a", "b"], r"has a single one \(b\): "),
    ],
)
def test_members_that_do_not_suffice_are_refused(settings, members, message):
    with pytest.raises(InputError, match=message):
        Ensemble(**settings).check(members)


def test_regions_that_do_not_lie_in_each_other_are_refused():
    odd = LabelOutput(["kidney", "tumor"], ["kidney_and_mass", "kidney", "tumor"])

    with pytest.raises(InputError, match="nested"):
        Ensemble().output({"a": odd, "b": BINARY})
