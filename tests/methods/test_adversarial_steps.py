"""The steps of two networks in turn: counted, accumulated, scheduled, resumed, scaled, and shared by processes."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.plugins.precision import MixedPrecision
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader

from tests.support.noisy_discs import fit_shared, loaders, module, moved, same, sample, trainer, weights

pytestmark = pytest.mark.filterwarnings("ignore")


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
class TestTwoProcesses:
    def fit(self, folder: Path, strategy: str, **settings) -> subprocess.CompletedProcess:
        """Trains in a process of its own: one that has computed with several threads cannot be forked."""
        call = f"fit_shared({str(folder)!r}, devices=2, strategy={strategy!r}, **{settings})"
        program = (
            "import kidney_lab, torch\nfrom noisy_discs import fit_shared\n"
            f"torch.save({call}, {str(folder / 'weights.pt')!r})"
        )
        root = Path(__file__).parents[2]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        environment["PYTHONPATH"] = str(root / "tests" / "support")
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
