"""The adversarial training on noisy discs; every training takes fractions of a second."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from monai.losses import DiceLoss
from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.plugins.precision import MixedPrecision
from torch import nn
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import ConstantLR, StepLR
from torch.utils.data import DataLoader, DistributedSampler

from kidney_lab.errors import InputError
from kidney_lab.losses.difficulty import DifficultyLoss
from kidney_lab.methods.adversarial import AdversarialSegmentation
from kidney_lab.methods.discriminators import Discriminators
from kidney_lab.methods.output import build_output
from kidney_lab.methods.supervised import SupervisedSegmentation
from kidney_lab.networks.confidence_discriminator import ConfidenceDiscriminator
from kidney_lab.networks.msalds_unet import MSALDSUNet
from tests.references import msalds as literal

pytestmark = pytest.mark.filterwarnings("ignore")

OUTPUT = build_output("regions", labels=["tumor"], regions=["tumor"])
NESTED = build_output("regions", labels=["kidney", "tumor"], regions=["kidney_and_mass", "tumor"])
ADAM, CONSTANT = partial(Adam, lr=1e-2), partial(ConstantLR, factor=1.0)
PLAIN = {"adversarial": "none", "difficulty": False, "deep_supervision": False}


def sample(seed: int) -> dict:
    """A disc of 2 in a ring of 1, somewhere on 16 x 16 pixels; what shows in the noise is the disc."""
    chance = torch.Generator().manual_seed(seed)
    row, column = torch.randint(5, 11, (2,), generator=chance)
    h, w = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    squared = (h - row) ** 2 + (w - column) ** 2
    disc, ring = squared < 16, squared < 25
    image = disc + 0.3 * torch.randn(16, 16, generator=chance)
    return {"image": image[None].float(), "label": disc[None].to(torch.uint8) + ring[None].to(torch.uint8)}


def batch(*seeds: int) -> dict:
    samples = [sample(seed) for seed in seeds]
    return {key: torch.stack([one[key] for one in samples]) for key in ("image", "label")}


def loaders(batches: int = 3) -> dict:
    case = {name: value[:, None] for name, value in sample(92).items()} | {"case": "case_00092"}
    return {
        "train_dataloaders": DataLoader([sample(k) for k in range(2 * batches)], batch_size=2),
        "val_dataloaders": [DataLoader([sample(90), sample(91)], batch_size=2), DataLoader([case], batch_size=None)],
    }


def predict_case(module: SupervisedSegmentation, image: torch.Tensor, prior: None) -> SimpleNamespace:
    """What a stage predicts, slice by slice."""
    probabilities = module.infer(image.movedim(1, 0)).movedim(0, 1)
    return SimpleNamespace(labels=lambda decide: decide(probabilities))


def network(deep_supervision: bool = True, norm: str = "batch", out_channels: int = 1) -> nn.Module:
    torch.manual_seed(0)
    return MSALDSUNet(
        out_channels=out_channels,
        channels=(4, 4, 8),
        dilations=(1, 2),
        se_ratio=4,
        deep_supervision=deep_supervision,
        norm=norm,
    )


def module(
    *,
    deep_supervision=True,
    norm="batch",
    optimizer=ADAM,
    discriminator_optimizer=ADAM,
    scheduler=CONSTANT,
    adversarial="multi_scale",
    scale="full",
    gradient_clip_val=None,
    accumulate_grad_batches=1,
    output=OUTPUT,
    **loss,
) -> AdversarialSegmentation:
    made = network(deep_supervision, norm, output.channels)
    torch.manual_seed(1)
    learned = AdversarialSegmentation(
        network=made,
        loss=DifficultyLoss(dice=DiceLoss(sigmoid=True), **loss),
        optimizer=optimizer,
        scheduler=scheduler,
        output=output,
        discriminators=partial(
            Discriminators,
            network=partial(ConfidenceDiscriminator, in_channels=1 + output.channels),
            channels=(2, 4, 4),
            adversarial=adversarial,
            scale=scale,
        ),
        discriminator_optimizer=discriminator_optimizer,
        gradient_clip_val=gradient_clip_val,
        accumulate_grad_batches=accumulate_grad_batches,
    )
    learned.predict_case = partial(predict_case, learned)
    return learned


def trainer(folder, *, epochs=1, callbacks=(), logger=False, **settings) -> pl.Trainer:
    given = {"accelerator": "cpu", "devices": 1, "enable_checkpointing": bool(callbacks)} | settings
    return pl.Trainer(
        max_epochs=epochs,
        default_root_dir=folder,
        logger=logger,
        callbacks=list(callbacks),
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        **given,
    )


def weights(module: nn.Module) -> dict:
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(left: dict, right: dict) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def moved(before: dict, module: nn.Module) -> float:
    """Distance that the weights have gone."""
    steps = [(value - before[name]).square().sum() for name, value in module.named_parameters()]
    return float(torch.stack(steps).sum().sqrt().detach())


class DiceAndCrossEntropy(nn.Module):
    """Averaged over levels, each enlarged to the target's size."""

    def forward(self, logits, target):
        levels = [logits] if isinstance(logits, torch.Tensor) else logits
        return torch.stack([self.of_level(level, target) for level in levels]).mean()

    def of_level(self, logits, target):
        if logits.shape != target.shape:
            logits = F.interpolate(logits, size=target.shape[2:], mode="bilinear", align_corners=False)
        return DiceLoss(sigmoid=True)(logits, target) + nn.BCEWithLogitsLoss()(logits, target)


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


class Steps(Logger):
    """Keeps at which step what is logged."""

    name, version = "steps", 0

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, int]] = []

    def log_hyperparams(self, params, *args, **kwargs) -> None:
        pass

    def log_metrics(self, metrics, step=None) -> None:
        self.seen += [(name, step) for name in metrics]

    def of(self, wanted: str) -> list[int]:
        return [step for name, step in self.seen if name == wanted]


def test_steps_are_those_of_the_segmentation_network(tmp_path):
    logger, run = Steps(), trainer(tmp_path, epochs=2)
    run.loggers = [logger]

    run.fit(module(), **loaders(batches=3))

    assert run.global_step == 6
    assert logger.of("train/loss_step") == [0, 1, 2, 3, 4, 5]
    assert logger.of("train/adv_1") == [2, 5]


def test_with_accumulation_the_logger_counts_steps_and_not_batches(tmp_path):
    logger, run = Steps(), trainer(tmp_path, epochs=2)
    run.loggers = [logger]

    run.fit(module(accumulate_grad_batches=2), **loaders(batches=3))

    assert run.global_step == 4  # the third batch of an epoch makes a step alone
    assert logger.of("train/loss_step") == [0, 0, 1, 2, 2, 3]
    assert logger.of("train/adv_1") == [2, 4]
    assert logger.of("val_patch/loss") == [2, 4]


def test_batches_accumulate_to_the_step_of_a_batch_of_all_their_samples(tmp_path):
    sgd = {"optimizer": partial(SGD, lr=0.5), "discriminator_optimizer": partial(SGD, lr=0.5), "norm": "instance"}
    one, other = module(**sgd), module(**sgd, accumulate_grad_batches=2)
    samples = [sample(k) for k in range(4)]

    trainer(tmp_path).fit(one, DataLoader(samples, batch_size=4))
    trainer(tmp_path).fit(other, DataLoader(samples, batch_size=2))

    for name, value in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, atol=1e-6, rtol=1e-4)


def test_both_learning_rates_follow_their_schedule(tmp_path):
    every = pl.callbacks.ModelCheckpoint(tmp_path, filename="last", save_on_train_epoch_end=True)
    optimizers = {"optimizer": partial(SGD, lr=0.4), "discriminator_optimizer": partial(SGD, lr=0.04)}

    trainer(tmp_path, epochs=3, callbacks=[every]).fit(
        module(**optimizers, scheduler=partial(StepLR, step_size=2, gamma=0.1)), **loaders()
    )

    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert [one["last_epoch"] for one in state["lr_schedulers"]] == [3, 3]
    rates = [one["param_groups"][0]["lr"] for one in state["optimizer_states"]]
    assert rates == pytest.approx([0.04, 0.004])


class Kill(pl.Callback):
    """Ends the process' training in the middle of epoch 1."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if (trainer.current_epoch, batch_idx) == (1, 1):
            raise SystemExit


@pytest.mark.parametrize("accumulate_grad_batches", [1, 2])
def test_a_training_killed_within_an_epoch_and_resumed_equals_an_uninterrupted_one(tmp_path, accumulate_grad_batches):
    def fit(folder, *callbacks, resume=None) -> dict:
        last = pl.callbacks.ModelCheckpoint(folder, filename="last", save_on_train_epoch_end=True)
        settings = {"scheduler": partial(StepLR, step_size=1, gamma=0.5), "gradient_clip_val": 0.5}
        learned = module(**settings, accumulate_grad_batches=accumulate_grad_batches)
        trainer(folder, epochs=3, callbacks=[last, *callbacks]).fit(learned, **loaders(), ckpt_path=resume)
        return torch.load(folder / "last.ckpt", weights_only=True)

    whole = fit(tmp_path / "whole")
    with pytest.raises(SystemExit):
        fit(tmp_path / "parts", Kill())

    resumed = fit(tmp_path / "parts", resume=tmp_path / "parts" / "last.ckpt")

    assert whole["global_step"] == (9 if accumulate_grad_batches == 1 else 6)
    for key in ("global_step", "epoch", "smoothed_loss", "lr_schedulers"):
        assert whole[key] == resumed[key]
    assert same(whole["state_dict"], resumed["state_dict"])
    assert len(whole["optimizer_states"]) == 2
    for one, other in zip(whole["optimizer_states"], resumed["optimizer_states"], strict=True):
        assert one["param_groups"] == other["param_groups"]
        for key, state in one["state"].items():
            assert same(state, other["state"][key])


def test_half_precision_is_unscaled_before_gradients_are_clipped(tmp_path):
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=1)  # grows with every step
    sgd = {"optimizer": partial(SGD, lr=1e-3), "discriminator_optimizer": partial(SGD, lr=1e-3)}
    settings = {**sgd, "gradient_clip_val": 10.0, "accumulate_grad_batches": 2, "norm": "instance"}
    half, full = module(**settings), module(**settings)
    start = weights(half)

    plugins = [MixedPrecision("16-mixed", "cpu", scaler=scaler)]
    trainer(tmp_path, limit_val_batches=0, plugins=plugins).fit(half, **loaders(batches=4))
    trainer(tmp_path, limit_val_batches=0).fit(full, **loaders(batches=4))

    assert scaler.get_scale() == 2.0**14  # two steps of either network
    for name in ("network", "discriminators"):
        before = {key.removeprefix(f"{name}."): value for key, value in start.items() if key.startswith(name)}
        assert moved(before, getattr(half, name)) == pytest.approx(moved(before, getattr(full, name)), rel=0.02)


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


class Shared(pl.LightningDataModule):
    """Twelve samples, shared out evenly and in order."""

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.batch_size = batch_size

    def train_dataloader(self) -> DataLoader:
        samples = [sample(k) for k in range(12)]
        sampler = DistributedSampler(samples, self.trainer.world_size, self.trainer.global_rank, shuffle=False)
        return DataLoader(samples, batch_size=self.batch_size, sampler=sampler)


def fit_shared(folder: Path, *, batch_size: int, accumulate_grad_batches: int = 1, **settings) -> dict:
    """Trains on the twelve samples and keeps the weights."""
    sgd = {"optimizer": partial(SGD, lr=0.5), "discriminator_optimizer": partial(SGD, lr=0.5)}
    learned = module(**sgd, norm="instance", accumulate_grad_batches=accumulate_grad_batches)
    run = trainer(folder, limit_val_batches=0, use_distributed_sampler=False, **settings)
    run.fit(learned, datamodule=Shared(batch_size))
    return weights(learned)


@pytest.mark.slow
class TestTwoProcesses:
    def fit(self, folder: Path, strategy: str, **settings) -> subprocess.CompletedProcess:
        """Trains in a process of its own: one that has computed with several threads cannot be forked."""
        call = f"fit_shared({str(folder)!r}, devices=2, strategy={strategy!r}, **{settings})"
        program = (
            "import kidney_lab, torch\nfrom tests.methods.test_adversarial import fit_shared\n"
            f"torch.save({call}, {str(folder / 'weights.pt')!r})"
        )
        environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        root = Path(__file__).parents[2]
        return subprocess.run(
            [sys.executable, "-c", program], cwd=root, env=environment, capture_output=True, text=True, timeout=300
        )

    @pytest.mark.parametrize(("batch_size", "accumulate_grad_batches"), [(2, 1), (1, 2)])
    def test_they_train_what_one_trains_on_all_their_samples(self, tmp_path, batch_size, accumulate_grad_batches):
        strategy = "ddp_fork_find_unused_parameters_true"

        result = self.fit(tmp_path, strategy, batch_size=batch_size, accumulate_grad_batches=accumulate_grad_batches)

        assert result.returncode == 0, result.stderr
        together = torch.load(tmp_path / "weights.pt", weights_only=True)
        alone = fit_shared(tmp_path, batch_size=4)
        assert not same(alone, weights(module(norm="instance")))
        for name, value in alone.items():
            torch.testing.assert_close(together[name], value, atol=1e-6, rtol=1e-4)

    def test_a_strategy_that_waits_for_all_gradients_is_refused(self, tmp_path):
        result = self.fit(tmp_path, "ddp_fork", batch_size=2)

        assert "trainer.strategy=ddp_find_unused_parameters_true" in result.stderr
