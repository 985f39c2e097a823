import itertools

import numpy as np
import pytest
import torch

from kidney_lab.errors import InputError
from kidney_lab.labels import LABELS, REGIONS
from kidney_lab.losses.dice_ce import DiceCELoss
from kidney_lab.methods.output import LabelOutput, RegionOutput, build_output, own_labels, region_mask

KITS19 = {"labels": ["kidney", "tumor"], "regions": ["kidney_and_mass", "tumor"]}
KITS23 = {"labels": ["kidney", "tumor", "cyst"], "regions": ["kidney_and_mass", "mass", "tumor"]}
SHAPE = (2, 3, 4)


def random_batch(channels, *, values=(0, 1, 2, 3), batch=2):
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn((batch, channels, *SHAPE), generator=generator)
    label = torch.tensor(values)[torch.randint(len(values), (batch, 1, *SHAPE), generator=generator)].to(torch.uint8)
    return logits, label


def soft_dice_loss(probability: np.ndarray, target: np.ndarray) -> float:
    """`1 - 2 sum(p t) / (sum(p) + sum(t))` with MONAI's smoothing."""
    return 1 - (2 * (probability * target).sum() + 1e-5) / (probability.sum() + target.sum() + 1e-5)


def cross_entropy(probability: np.ndarray, target: np.ndarray) -> float:
    return float(-(target * np.log(probability) + (1 - target) * np.log(1 - probability)).mean())


class TestLabels:
    def test_the_decision_is_the_most_probable_channel_s_label(self):
        probabilities = torch.rand(4, 7, 8, 9, generator=torch.Generator().manual_seed(0))

        decided = LabelOutput(**KITS23).decide(probabilities)

        assert decided.dtype == torch.uint8
        np.testing.assert_array_equal(decided, probabilities.numpy().argmax(axis=0))

    def test_ties_go_to_the_background_and_then_to_the_first_label(self):
        levels = torch.tensor(list(itertools.product((0.1, 0.2, 0.3), repeat=4))).T.reshape(4, 9, 9, 1)

        decided = LabelOutput(**KITS23).decide(levels)

        # numpy's argmax takes the first of equal values
        np.testing.assert_array_equal(decided, levels.numpy().argmax(axis=0))

    def test_channels_stand_for_the_labels_named_whatever_their_values(self):
        output = LabelOutput(labels=["cyst", "kidney"], regions=["mass"])

        decided = output.decide(torch.eye(3).reshape(3, 3, 1, 1))

        assert decided.flatten().tolist() == [0, LABELS["cyst"], LABELS["kidney"]]

    def test_the_loss_is_monai_s_on_the_integer_target(self):
        logits, label = random_batch(4)
        target = LabelOutput(**KITS23).target(label)

        for settings in ({"batch": True, "include_background": False}, {"batch": False}):
            given = DiceCELoss(softmax=True, **settings)(logits, target)
            expected = DiceCELoss(softmax=True, to_onehot_y=True, **settings)(logits, label.float())
            torch.testing.assert_close(given, expected)

    def test_probabilities_are_a_softmax_in_full_precision(self):
        logits, _ = random_batch(4)
        probabilities = LabelOutput(**KITS23).probabilities(logits.bfloat16())

        assert probabilities.dtype == torch.float32
        exponentials = np.exp(logits.bfloat16().double().numpy())
        np.testing.assert_allclose(probabilities, exponentials / exponentials.sum(axis=1, keepdims=True), rtol=1e-5)


def decide_one_voxel(probabilities, regions) -> int:
    """The rule, literally: the innermost region that is more probable than not says which label it is."""
    for place in reversed(range(len(regions))):
        if probabilities[place] > 0.5:
            inner = REGIONS[regions[place + 1]] if place + 1 < len(regions) else ()
            (label,) = set(REGIONS[regions[place]]) - set(inner) - ({3} if len(regions) == 2 else set())
            return label
    return 0


class TestRegions:
    @pytest.mark.parametrize("dataset", [KITS19, KITS23], ids=["kits19", "kits23"])
    def test_the_decision_is_read_off_for_every_pattern_of_probabilities(self, dataset):
        patterns = list(itertools.product((0.0, 0.49, 0.5, 0.51, 1.0), repeat=len(dataset["regions"])))

        decided = RegionOutput(**dataset).decide(torch.tensor(patterns).T.reshape(-1, len(patterns), 1, 1))

        assert decided.dtype == torch.uint8
        assert decided.flatten().tolist() == [decide_one_voxel(pattern, dataset["regions"]) for pattern in patterns]

    @pytest.mark.parametrize("dataset", [KITS19, KITS23], ids=["kits19", "kits23"])
    def test_deciding_on_the_target_gives_the_reference_back(self, dataset):
        values = [0, *(LABELS[name] for name in dataset["labels"])]
        _, label = random_batch(len(dataset["regions"]), values=values)
        output = RegionOutput(**dataset)

        target = output.target(label)

        assert torch.equal(torch.stack([output.decide(sample) for sample in target]), label[:, 0])

    def test_the_target_has_a_channel_for_every_region(self):
        _, label = random_batch(3)
        output = RegionOutput(**KITS23)
        truth = torch.stack([region_mask(label[:, 0], name) for name in KITS23["regions"]], dim=1).float()

        target = output.target(label)

        assert torch.equal(target, truth)

    def test_the_loss_is_the_mean_over_regions_of_the_batch_s_dice_and_binary_cross_entropy(self):
        # Every region has a Dice of its own: a tumor must not drown in the kidney's much larger sums.
        logits, label = random_batch(3)

        given = DiceCELoss(sigmoid=True, batch=True)(logits, RegionOutput(**KITS23).target(label))

        expected = []
        for region, name in enumerate(KITS23["regions"]):
            probability = 1 / (1 + np.exp(-logits[:, region].double().numpy()))
            target = np.isin(label[:, 0].numpy(), REGIONS[name]).astype(float)
            expected.append(soft_dice_loss(probability, target) + cross_entropy(probability, target))
        assert float(given) == pytest.approx(np.mean(expected), rel=1e-5)

    def test_regions_do_not_compete(self):
        label = torch.full((1, 1, *SHAPE), 2, dtype=torch.uint8)  # tumor: every region holds it
        sure = torch.full((1, 3, *SHAPE), 30.0)

        loss = DiceCELoss(sigmoid=True, batch=True)(sure, RegionOutput(**KITS23).target(label))

        assert float(loss) == pytest.approx(0.0, abs=1e-5)  # a softmax over three equal channels could not reach it

    def test_probabilities_are_a_sigmoid_in_full_precision(self):
        logits, _ = random_batch(3)
        probabilities = RegionOutput(**KITS23).probabilities(logits.bfloat16())

        assert probabilities.dtype == torch.float32
        np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-logits.bfloat16().double().numpy())), rtol=1e-5)


@pytest.mark.parametrize(
    ("regions", "labels"),
    [
        (["kidney_and_mass", "mass", "tumor"], [1, 3, 2]),
        (["kidney_and_mass", "tumor"], [1, 2]),
        (["kidney_and_mass", "mass"], [1, 2]),
        (["tumor"], [2]),
    ],
)
def test_a_region_s_own_label_is_what_its_successor_leaves(regions, labels):
    assert own_labels(regions) == labels


@pytest.mark.parametrize(
    "regions",
    [["tumor", "kidney_and_mass"], ["kidney", "tumor"], ["mass", "mass"], ["kidney_and_mass", "kidney", "cyst"]],
)
def test_regions_that_are_not_nested_are_refused(regions):
    with pytest.raises(InputError, match=r"needs nested data\.regions, outermost first; got \["):
        own_labels(regions)


@pytest.mark.parametrize("regions", [[], ["liver"], "tumor"])
def test_regions_that_there_are_not_are_refused_with_the_choices(regions):
    with pytest.raises(InputError, match=r"are none: choose one or more of kidney_and_mass, mass, tumor, kidney, cyst"):
        own_labels(regions)


def test_a_region_s_mask_holds_all_its_labels():
    labels = torch.tensor([0, 1, 2, 3], dtype=torch.uint8)

    for name, values in REGIONS.items():
        assert region_mask(labels, name).tolist() == [value in values for value in range(4)]


def test_the_output_is_chosen_by_name_and_another_name_refused_with_the_choices():
    assert type(build_output("labels", **KITS19)) is LabelOutput
    assert type(build_output("regions", **KITS19)) is RegionOutput
    with pytest.raises(InputError, match=r"model\.output=softmax is unknown: choose one of labels, regions"):
        build_output("softmax", **KITS19)


@pytest.mark.parametrize(
    ("output", "channels", "values"),
    [
        (LabelOutput(**KITS23), 4, [1, 2, 3]),
        (LabelOutput(**KITS19), 3, [1, 2]),
        (RegionOutput(**KITS23), 3, [1, 3, 2]),
        (RegionOutput(labels=["kidney", "tumor"], regions=["kidney_and_mass", "mass"]), 2, [1, 2]),
        (RegionOutput(labels=["kidney", "tumor", "cyst"], regions=["mass"]), 1, [2]),
    ],
)
def test_an_output_tells_its_channels_and_what_it_may_mark(output, channels, values):
    assert output.channels == channels
    assert list(output.values) == values


@pytest.mark.parametrize("regions", [["kidney_and_mass", "mass"], ["kidney_and_mass"], ["mass"], ["tumor"]])
def test_whoever_asks_a_label_map_for_a_region_that_was_predicted_finds_it(regions):
    output = RegionOutput(labels=["kidney", "tumor", "cyst"], regions=regions)
    label = torch.tensor([0, 1, 2, 3], dtype=torch.uint8).reshape(1, 1, 1, 2, 2)

    decided = output.decide(output.target(label)[0])

    for region in regions:
        assert torch.equal(region_mask(decided, region), region_mask(label[0, 0], region))
