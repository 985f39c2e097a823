"""The adversarial training on noisy discs; every training takes fractions of a second."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from monai.losses import DiceLoss
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import ConstantLR, StepLR

from kidney_lab.errors import InputError
from kidney_lab.losses.difficulty import DifficultyLoss
from kidney_lab.methods.adversarial import AdversarialSegmentation
from kidney_lab.methods.supervised import SupervisedSegmentation
from tests.references import msalds as literal
from tests.support.noisy_discs import (
    ADAM,
    CONSTANT,
    NESTED,
    OUTPUT,
    PLAIN,
    DiceAndCrossEntropy,
    batch,
    loaders,
    module,
    moved,
    network,
    predict_case,
    same,
    trainer,
    weights,
)

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("deep_supervision", [False, True])
@pytest.mark.parametrize("settings", [{}, {"gradient_clip_val": 0.1, "accumulate_grad_batches": 2}])
def test_without_discriminators_and_difficulty_it_is_plain_supervised_training_bit_for_bit(
    settings, deep_supervision, tmp_path
):
    plain = SupervisedSegmentation(
        network=network(deep_supervision),
        loss=DiceAndCrossEntropy(),
        optimizer=ADAM,
        scheduler=CONSTANT,
        output=OUTPUT,
    )
    plain.predict_case = partial(predict_case, plain)
    learned = module(**(PLAIN | {"deep_supervision": deep_supervision}), **settings)
    untrained = weights(learned.network)

    expected, run = trainer(tmp_path, epochs=2, **settings), trainer(tmp_path, epochs=2)
    expected.fit(plain, **loaders())
    run.fit(learned, **loaders())

    assert same(weights(plain), weights(learned))
    assert not same(untrained, weights(learned.network))
    assert run.global_step == expected.global_step == (4 if settings else 6)
    for name in ("train/loss", "val_patch/loss", "lr"):
        assert torch.equal(run.callback_metrics[name], expected.callback_metrics[name])


class TestFirstStep:
    """Everything that the first step computes, from the weights before it."""

    def terms(self, learned) -> tuple[list[list[float]], list[float]]:
        """Per level Dice, λ-weighted cross-entropy, L_adv and mean λ; and L_D: read off Eqs. 1 to 5."""
        given = batch(0, 1)
        target = learned.output.target(given["label"])
        segmentation, discriminators = [], []
        for logits, judge in zip(learned.network(given["image"]), learned.discriminators.networks, strict=True):
            logits = F.interpolate(logits, size=(16, 16), mode="bilinear", align_corners=False)
            fake = judge(torch.cat([given["image"], logits.sigmoid()], dim=1))
            real = judge(torch.cat([given["image"], target], dim=1))
            weight = torch.tensor([literal.difficulty(m) for (m,) in literal.pixels(fake.sigmoid())])
            entropy = F.binary_cross_entropy(logits.sigmoid(), target, reduction="none").mean(dim=1).flatten()
            dice = 1 - (2 * (logits.sigmoid() * target).sum(dim=(2, 3)) + 1e-5) / (
                (logits.sigmoid() + target).sum(dim=(2, 3)) + 1e-5
            )
            deceived = -fake.sigmoid().log().mean()
            segmentation.append([float(v) for v in (dice.mean(), (weight * entropy).mean(), deceived, weight.mean())])
            judged = -((1 - fake.sigmoid()).log().mean() + real.sigmoid().log().mean()) / 2
            discriminators.append(float(judged))
        return segmentation, discriminators

    @pytest.mark.parametrize("output", [OUTPUT, NESTED], ids=["one region", "two regions"])
    def test_logged_values_are_those_of_the_equations(self, output, tmp_path):
        with torch.no_grad():
            segmentation, discriminators = self.terms(module(output=output))
        run = trainer(tmp_path, limit_train_batches=1)

        run.fit(module(output=output), **loaders())

        metrics = {name: float(value) for name, value in run.callback_metrics.items()}
        for level, (values, judged) in enumerate(zip(segmentation, discriminators, strict=True)):
            names = [f"train/{term}_{level}" for term in ("dice", "ce", "adv", "lambda", "discriminator")]
            assert [metrics[name] for name in names] == pytest.approx([*values, judged], rel=1e-4)
        totals = [dice + entropy + 0.05 * deceived for dice, entropy, deceived, _ in segmentation]
        assert metrics["train/loss"] == pytest.approx(sum(totals) / 2, rel=1e-4)

    def after(self, folder, **settings) -> AdversarialSegmentation:
        learned = module(**settings)
        trainer(folder, limit_train_batches=1, limit_val_batches=0).fit(learned, **loaders())
        return learned

    def test_the_discriminators_loss_trains_no_segmentation_network(self, tmp_path):
        still = self.after(tmp_path, discriminator_optimizer=partial(SGD, lr=0.0))

        assert same(weights(still.network), weights(self.after(tmp_path).network))
        assert moved(weights(module().discriminators), still.discriminators) == 0
        assert moved(weights(module().discriminators), self.after(tmp_path).discriminators) > 0

    def test_the_discriminators_loss_leaves_the_segmentation_network_no_gradient(self, tmp_path):
        learned = self.after(tmp_path, accumulate_grad_batches=1)

        assert not any(weight.grad is not None and weight.grad.any() for weight in learned.network.parameters())

    @pytest.mark.parametrize("detach_difficulty", [True, False])
    def test_the_segmentation_loss_trains_no_discriminator(self, tmp_path, detach_difficulty):
        one = self.after(tmp_path, adversarial_weight=100.0, detach_difficulty=detach_difficulty)
        other = self.after(tmp_path, adversarial_weight=0.0)

        assert same(weights(one.discriminators), weights(other.discriminators))
        assert not same(weights(one.network), weights(other.network))

    def test_gradient_runs_through_the_weights_only_if_it_is_to(self, tmp_path):
        networks = [
            self.after(tmp_path, adversarial_weight=0.0, optimizer=partial(SGD, lr=0.1), detach_difficulty=detach)
            for detach in (True, False)
        ]

        assert not same(weights(networks[0].network), weights(networks[1].network))

    def test_gradients_of_both_networks_are_clipped(self, tmp_path):
        sgd = partial(SGD, lr=1.0)

        learned = self.after(tmp_path, optimizer=sgd, discriminator_optimizer=sgd, gradient_clip_val=1e-2)

        start = module()
        assert moved(weights(start.network), learned.network) == pytest.approx(1e-2, rel=1e-3)
        assert moved(weights(start.discriminators), learned.discriminators) == pytest.approx(1e-2, rel=1e-3)


@pytest.mark.parametrize(
    ("settings", "levels", "judged", "weighted"),
    [
        ({}, {0, 1}, {0, 1}, {0, 1}),
        ({"scale": "native"}, {0, 1}, {0, 1}, {0, 1}),
        ({"adversarial": "last"}, {0, 1}, {0}, {0}),
        ({"adversarial": "last", "deep_supervision": False, "difficulty": False}, {0}, {0}, set()),
        ({"adversarial": "none", "difficulty": False}, {0, 1}, set(), set()),
    ],
)
def test_what_is_logged_in_every_row_of_the_ablation(settings, levels, judged, weighted, tmp_path):
    run = trainer(tmp_path)

    run.fit(module(**settings), **loaders())

    named = {"dice": levels, "ce": levels, "adv": judged, "discriminator": judged, "lambda": weighted}
    expected = {f"train/{term}_{level}" for term, those in named.items() for level in those}
    assert {name for name in run.callback_metrics if "/" in name and not name.endswith(("_step", "_epoch"))} == {
        "train/loss", "val_patch/loss", "val_case/tumor_dice", "val_case/mean_dice", *expected
    }  # fmt: skip


def test_of_several_regions_a_pixel_has_one_confidence_that_depends_on_all_their_masks():
    learned, given = module(output=NESTED).eval(), batch(0, 1)

    probs, confidence = learned.confidence(given["image"])

    assert probs.shape == (2, 2, 16, 16)
    assert confidence.shape == (2, 1, 16, 16)
    for region in range(2):
        other = probs.clone()
        other[:, region] = 1 - other[:, region]
        assert not torch.allclose(learned.discriminators(0, given["image"], other).sigmoid(), confidence)


def test_the_validation_loss_is_dice_and_plain_cross_entropy(tmp_path):
    learned, run = module(), trainer(tmp_path)

    run.fit(learned, **loaders())

    given = batch(90, 91)
    learned.eval()
    with torch.no_grad():
        expected = DiceAndCrossEntropy()(learned(given["image"]), OUTPUT.target(given["label"]))
    assert float(run.callback_metrics["val_patch/loss"]) == pytest.approx(float(expected))


@pytest.mark.slow
def test_discriminators_come_to_tell_references_from_predictions(tmp_path):
    still = {"optimizer": partial(SGD, lr=0.0), "norm": "instance", "adversarial": "last"}
    slower = partial(StepLR, step_size=20, gamma=0.2)
    learned = module(**still, discriminator_optimizer=partial(Adam, lr=5e-2), scheduler=slower)
    run = trainer(tmp_path, epochs=40, limit_val_batches=0)

    run.fit(learned, **loaders())

    assert float(run.callback_metrics["train/discriminator_0"]) < 0.5  # from 0.69
    given = batch(0, 1)
    _, confidence = learned.confidence(given["image"])
    real = learned.discriminators(0, given["image"], OUTPUT.target(given["label"])).sigmoid()
    assert confidence.mean() < 0.4
    assert real.mean() > 0.6


@pytest.mark.slow
@pytest.mark.parametrize("output", [OUTPUT, NESTED], ids=["one region", "two regions"])
def test_a_network_learns_to_segment_against_its_discriminators(output, tmp_path):
    run = trainer(tmp_path, epochs=25)

    run.fit(module(optimizer=partial(Adam, lr=2e-2), output=output), **loaders(batches=6))

    assert float(run.callback_metrics["val_patch/loss"]) < 0.35


class TestRefusals:
    def test_difficulty_without_a_discriminator(self):
        with pytest.raises(InputError, match=r"loss\.difficulty=true .* model\.adversarial=none there is none"):
            module(adversarial="none")

    def test_another_loss(self):
        with pytest.raises(InputError, match="DiceLoss is no loss of an adversarial training: choose loss=difficulty"):
            module().check_loss(DiceLoss())

    def test_its_loss_in_a_training_without_discriminators(self):
        with pytest.raises(InputError, match="loss=difficulty weighs pixels by a discriminator's confidence"):
            SupervisedSegmentation(
                network=network(),
                loss=DifficultyLoss(dice=DiceLoss(sigmoid=True)),
                optimizer=partial(SGD, lr=0.1),
                scheduler=partial(ConstantLR, factor=1.0),
                output=OUTPUT,
            )

    def test_no_batches_to_a_step(self):
        with pytest.raises(InputError, match=r"trainer\.accumulate_grad_batches=0"):
            module(accumulate_grad_batches=0)

    def test_confidence_without_a_discriminator(self):
        with pytest.raises(InputError, match=r"model\.adversarial=none has no confidence"):
            module(**PLAIN).confidence(batch(0)["image"])
