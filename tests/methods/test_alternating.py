"""Turns of a network and a discriminator of one weight each, whose steps can be done by hand."""

from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader

from kidney_lab.errors import InputError
from kidney_lab.methods.alternating import AlternatingSegmentation
from kidney_lab.methods.discriminators import Level
from kidney_lab.methods.output import build_output

pytestmark = pytest.mark.filterwarnings("ignore")


class Scale(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.value * x


class Toy(AlternatingSegmentation):
    """The network with weight w lowers `v w x`, the discriminator with weight v raises it, for an image of x."""

    def levels(self, batch):
        return [Level(batch["image"], self(batch["image"]), self.output.target(batch["label"]))]

    def judgements(self, levels):
        return [self.discriminators(levels[0].logits)]

    def segmentation_loss(self, levels):
        loss = levels[0].logits.mean() * (self.discriminators.value if self.has_discriminators else 1)
        return loss, {"train/term": loss}

    def discriminator_losses(self, levels):
        assert not levels[0].logits.requires_grad
        return {"train/discriminator_0": -self.judgements(levels)[0].mean()}


def toy(discriminators=None, **settings) -> Toy:
    return Toy(
        network=Scale(1.0),
        loss=nn.Identity(),
        optimizer=partial(SGD, lr=0.1),
        scheduler=partial(StepLR, step_size=1, gamma=0.5),
        output=build_output("regions", labels=["tumor"], regions=["tumor"]),
        discriminators=discriminators or Scale(2.0),
        discriminator_optimizer=partial(SGD, lr=0.1),
        **settings,
    )


def fit(learned: Toy, folder, *images: float, epochs: int = 1) -> pl.Trainer:
    """Trains on a batch for every image, each of one grey value."""
    samples = [{"image": torch.full((1, 2, 2), x), "label": torch.zeros(1, 2, 2)} for x in images]
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(learned, DataLoader(samples, batch_size=1))
    return trainer


def weights(learned: Toy) -> list[float]:
    return [float(parameter) for parameter in learned.parameters()]


def test_each_step_of_the_discriminator_is_on_what_the_network_predicted_before_its_own(tmp_path):
    learned = toy()

    trainer = fit(learned, tmp_path, 1.0, 3.0)

    # w: 1 - 0.1 * 2 = 0.8, then 0.8 - 0.1 * 2.1 * 3; v: 2 + 0.1 * 1 = 2.1, then 2.1 + 0.1 * 0.8 * 3
    assert weights(learned) == pytest.approx([0.17, 2.34])
    assert trainer.global_step == 2
    assert float(trainer.callback_metrics["train/term"]) == pytest.approx((2 + 2.1 * 0.8 * 3) / 2)
    assert float(trainer.callback_metrics["train/discriminator_0"]) == pytest.approx(-(2 + 2.1 * 0.8 * 3) / 2)


def test_batches_accumulate_for_both_and_the_last_makes_a_step_alone(tmp_path):
    learned = toy(accumulate_grad_batches=2)

    trainer = fit(learned, tmp_path, 1.0, 3.0, 2.0)

    # w: 1 - 0.1 * 2 (1 + 3) / 2 = 0.6, then 0.6 - 0.1 * 2.2 * 2 / 2
    # v: 2 + 0.1 (1 + 3) / 2 = 2.2, then 2.2 + 0.1 * 0.6 * 2 / 2
    assert weights(learned) == pytest.approx([0.38, 2.26])
    assert trainer.global_step == 2


def test_gradients_of_both_are_clipped(tmp_path):
    learned = toy(gradient_clip_val=0.5)

    fit(learned, tmp_path, 4.0)

    assert weights(learned) == pytest.approx([0.95, 2.05])


def test_both_rates_follow_the_schedule(tmp_path):
    learned = toy()

    fit(learned, tmp_path, 1.0, epochs=2)

    assert weights(learned) == pytest.approx([0.8 - 0.05 * 2.1, 2.1 + 0.05 * 0.8])


def test_without_a_discriminator_the_network_trains_alone(tmp_path):
    learned = toy(nn.Identity())

    fit(learned, tmp_path, 1.0, 3.0)

    assert not learned.has_discriminators
    assert weights(learned) == pytest.approx([1 - 0.1 - 0.3])


def test_a_step_of_no_batches_is_refused():
    with pytest.raises(InputError, match=r"trainer\.accumulate_grad_batches=0 is no number: choose 1 or more"):
        toy(accumulate_grad_batches=0)
