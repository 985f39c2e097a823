from functools import partial

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from monai.inferers import SlidingWindowInferer
from monai.losses import DeepSupervisionLoss, DiceCELoss
from torch import nn
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import ConstantLR, PolynomialLR, ReduceLROnPlateau
from torch.utils.data import DataLoader

from kidney_lab.data.views.window import whole
from kidney_lab.losses.contour import ContourSupervisionLoss, contour
from kidney_lab.methods.output import build_output
from kidney_lab.methods.prediction import Prediction
from kidney_lab.methods.supervised import SupervisedSegmentation, background_accuracy, pixel_accuracy
from kidney_lab.networks.attention_vnet import SegmentationAndContour

KITS19 = {"labels": ["kidney", "tumor"], "regions": ["kidney_and_mass", "tumor"]}
SHAPE = (6, 8, 8)

pytestmark = pytest.mark.filterwarnings("ignore")


def ball_case(seed: int = 0) -> dict:
    """A kidney of 1 with a tumor of 2 in a background of 0, in noise, as image and as label."""
    d, h, w = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    label = np.zeros(SHAPE, np.uint8)
    label[(d - 3) ** 2 + (h - 4) ** 2 + (w - 4) ** 2 < 9] = 1
    label[2:4, 3:5, 3:5] = 2
    noise = np.random.default_rng(seed).normal(0, 0.05, SHAPE)
    return {
        "image": torch.from_numpy(label / 2 + noise).float()[None],
        "label": torch.from_numpy(label)[None],
        "case": f"case_{seed:05d}",
    }


def batch(*seeds: int) -> dict:
    cases = [ball_case(seed) for seed in seeds]
    return {key: torch.stack([case[key] for case in cases]) for key in ("image", "label")}


def network(channels: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(1, 8, 3, padding=1), nn.LeakyReLU(), nn.Conv3d(8, 8, 3, padding=1), nn.LeakyReLU(),
        nn.Conv3d(8, channels, 1),
    )  # fmt: skip


def module(kind="regions", *, optimizer=None, scheduler=None) -> SupervisedSegmentation:
    torch.manual_seed(0)
    made = SupervisedSegmentation(
        network=network(3 if kind == "labels" else 2),
        loss=DiceCELoss(**{"softmax" if kind == "labels" else "sigmoid": True}),
        optimizer=optimizer or partial(Adam, lr=0.02),
        scheduler=scheduler or partial(ConstantLR, factor=1.0),
        output=build_output(kind, **KITS19),
    )
    made.predict_case = lambda image, prior: Prediction.held(made.infer(image[None])[0], whole(SHAPE), SHAPE)
    return made


def loaders(steps: int = 2) -> dict:
    cases = [ball_case(7), ball_case(8)]
    return {
        "train_dataloaders": DataLoader([ball_case(k) for k in range(2 * steps)], batch_size=2),
        "val_dataloaders": [DataLoader(cases, batch_size=2), DataLoader(cases, batch_size=None)],
    }


def trainer(folder, *, epochs=1, callbacks=()) -> pl.Trainer:
    return pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=any(isinstance(callback, pl.callbacks.ModelCheckpoint) for callback in callbacks),
        callbacks=list(callbacks),
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@pytest.mark.parametrize("kind", ["labels", "regions"])
def test_a_step_of_the_optimizer_lowers_the_loss_of_the_same_batch(kind, tmp_path):
    learned = module(kind, optimizer=partial(SGD, lr=0.1))
    before = {name: value.clone() for name, value in learned.state_dict().items()}
    first = float(learned._loss(batch(0, 1)))

    trainer(tmp_path).fit(learned, **loaders(steps=1))

    assert float(learned._loss(batch(0, 1))) < first
    assert all(not torch.equal(value, before[name]) for name, value in learned.state_dict().items())


@pytest.mark.parametrize("kind", ["labels", "regions"])
def test_a_network_overfits_a_batch_and_then_segments_it(kind):
    learned = module(kind)
    optimizer = torch.optim.Adam(learned.parameters(), lr=0.02)
    for _ in range(120):
        optimizer.zero_grad()
        loss = learned._loss(batch(0, 1))
        loss.backward()
        optimizer.step()

    assert float(loss.detach()) < 0.1
    decided = learned.output.decide(learned.infer(batch(0)["image"])[0])
    assert (decided == batch(0)["label"][0, 0]).float().mean() > 0.98


def test_what_is_logged(tmp_path):
    run = trainer(tmp_path)

    run.fit(module(), **loaders())

    assert {name for name in run.callback_metrics if not name.endswith(("_step", "_epoch"))} == {
        "lr",
        "loss",  # the progress bar's names
        "dice",
        "train/loss",
        "val_patch/loss",
        "val_case/kidney_and_mass_dice",
        "val_case/tumor_dice",
        "val_case/mean_dice",
    }


def test_logged_values_are_those_computed_by_hand(tmp_path):
    learned = module(optimizer=partial(SGD, lr=0.0))  # learns nothing, so that every value can be computed afterwards
    run = trainer(tmp_path)

    run.fit(learned, **loaders())

    metrics = {name: float(value) for name, value in run.callback_metrics.items()}
    with torch.no_grad():
        steps = [float(learned._loss(batch(0, 1))), float(learned._loss(batch(2, 3)))]
        assert metrics["train/loss"] == pytest.approx(np.mean(steps))
        assert metrics["val_patch/loss"] == pytest.approx(float(learned._loss(batch(7, 8))))
        assert metrics["lr"] == 0.0
        dices = []
        for seed in (7, 8):
            decided = learned.output.decide(learned.infer(batch(seed)["image"])[0])
            inside, wanted = decided > 0, batch(seed)["label"][0, 0] > 0
            dices.append(2 * int((inside & wanted).sum()) / (int(inside.sum()) + int(wanted.sum())))
    assert metrics["val_case/kidney_and_mass_dice"] == pytest.approx(np.mean(dices))
    both = metrics["val_case/kidney_and_mass_dice"], metrics["val_case/tumor_dice"]
    assert metrics["val_case/mean_dice"] == pytest.approx(np.mean(both))


@pytest.mark.parametrize("kind", ["labels", "regions"])
def test_pixel_accuracy_is_the_share_of_pixels_whose_label_is_right(kind):
    output = build_output(kind, **KITS19)
    label = torch.tensor([[[0, 0, 1, 2]], [[0, 1, 2, 2]]])[:, None]  # (2, 1, 1, 4)
    decided = torch.tensor([[[0, 0, 1, 1]], [[1, 1, 2, 0]]])[:, None]  # 5 of 8 are right

    assert float(pixel_accuracy(output, 20 * output.target(decided) - 10, label)) == 5 / 8
    assert float(background_accuracy(output, label)) == 3 / 8


def test_accuracies_are_logged_where_they_are_asked_for(tmp_path):
    learned = module(optimizer=partial(SGD, lr=0.0))
    learned.pixel_accuracy = True
    run = trainer(tmp_path)

    run.fit(learned, **loaders())

    metrics = {name: float(value) for name, value in run.callback_metrics.items()}
    with torch.no_grad():
        for name, batches in (("train", [(0, 1), (2, 3)]), ("val_patch", [(7, 8)])):
            seen = [batch(*seeds) for seeds in batches]
            shares = [float(pixel_accuracy(learned.output, learned(one["image"]), one["label"])) for one in seen]
            assert metrics[f"{name}/accuracy"] == pytest.approx(np.mean(shares))
            empty = [float((one["label"] == 0).float().mean()) for one in seen]
            assert metrics[f"{name}/background_accuracy"] == pytest.approx(np.mean(empty))


class Rates(pl.Callback):
    """Keeps the learning rate that every batch is trained with."""

    def __init__(self) -> None:
        self.seen: dict[int, set[float]] = {}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.seen.setdefault(trainer.current_epoch, set()).add(trainer.optimizers[0].param_groups[0]["lr"])


def test_the_scheduler_steps_once_an_epoch_and_its_step_is_in_that_epoch_s_checkpoint(tmp_path):
    rates = Rates()
    every = pl.callbacks.ModelCheckpoint(
        tmp_path, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True, auto_insert_metric_name=False
    )
    poly = partial(PolynomialLR, total_iters=4, power=1.0)

    trainer(tmp_path, epochs=3, callbacks=[rates, every]).fit(
        module(optimizer=partial(SGD, lr=0.4), scheduler=poly), **loaders()
    )

    assert {epoch: [pytest.approx(0.4 * (1 - epoch / 4))] for epoch in range(3)} == {
        epoch: sorted(seen) for epoch, seen in rates.seen.items()
    }
    for epoch in range(3):
        state = torch.load(tmp_path / f"{epoch}.ckpt", weights_only=True)
        assert state["lr_schedulers"][0]["last_epoch"] == epoch + 1
        assert state["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(0.4 * (1 - (epoch + 1) / 4))


class TestPlateau:
    """The thesis' scheduler: after more than 30 epochs without 1e-3 less of the smoothed training loss, a fifth."""

    PLATEAU = partial(ReduceLROnPlateau, factor=0.2, patience=30, threshold=1e-3, threshold_mode="abs", min_lr=1e-6)

    def flat(self, folder, *, epochs, lr=0.01, losses=None, checkpoint=None, resume=None):
        """Trains with losses that are given; returns the module and the rate that every epoch is trained with."""
        learned = module(optimizer=partial(SGD, lr=lr), scheduler=self.PLATEAU)
        learned._loss = lambda batch: (
            learned.network(batch["image"]).mean() * 0
            + (1.0 if losses is None else losses[min(learned.current_epoch, len(losses) - 1)])
        )
        rates = Rates()
        callbacks = [rates] if checkpoint is None else [rates, checkpoint]
        train = {"train_dataloaders": DataLoader([ball_case(0), ball_case(1)], batch_size=2)}
        trainer(folder, epochs=epochs, callbacks=callbacks).fit(learned, **train, ckpt_path=resume, weights_only=True)
        return learned, [min(rates.seen[epoch]) for epoch in sorted(rates.seen)]

    def test_the_rate_falls_to_a_fifth_after_the_31st_flat_epoch(self, tmp_path):
        _, rates = self.flat(tmp_path, epochs=65)

        # Epoch 0 sets the mark; epochs 1 to 31 are flat, and so are 32 to 62.
        assert rates[:32] == [0.01] * 32
        assert rates[32:63] == [pytest.approx(0.002)] * 31
        assert rates[63:] == [pytest.approx(0.0004)] * 2

    def test_the_rate_never_falls_below_its_floor(self, tmp_path):
        _, rates = self.flat(tmp_path, epochs=70, lr=2e-6)

        assert rates[32] == rates[69] == pytest.approx(1e-6)

    def test_a_loss_that_falls_keeps_the_rate(self, tmp_path):
        losses = [10 - 0.1 * epoch for epoch in range(40)]

        assert set(self.flat(tmp_path, epochs=40, losses=losses)[1]) == {0.01}

    def test_the_loss_is_smoothed_over_epochs(self, tmp_path):
        learned, _ = self.flat(tmp_path, epochs=3, losses=[4.0, 2.0, 1.0])

        assert learned.smoothed_loss == pytest.approx(0.93 * (0.93 * 4 + 0.07 * 2) + 0.07 * 1)

    def test_a_resumed_training_counts_on(self, tmp_path):
        last = pl.callbacks.ModelCheckpoint(tmp_path, filename="last", save_on_train_epoch_end=True)
        losses = [*[4.0] * 20, 3.98]  # the smoothed loss follows within 40 epochs
        whole, rates = self.flat(tmp_path, epochs=120, losses=losses)
        _, first = self.flat(tmp_path, epochs=20, losses=losses, checkpoint=last)

        resumed, then = self.flat(tmp_path, epochs=120, losses=losses, resume=tmp_path / "last.ckpt")

        assert first + then == rates
        assert 70 < rates.index(pytest.approx(0.002)) < 110
        assert resumed.smoothed_loss == whole.smoothed_loss


def test_every_level_of_deep_supervision_is_weighted(tmp_path):
    class Levels(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Conv3d(1, 2, 1)

        def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
            logits = self.head(image)
            return [logits, nn.functional.avg_pool3d(logits, 2)]

    learned = module()
    learned.network = Levels()
    learned.loss = DeepSupervisionLoss(DiceCELoss(sigmoid=True), weights=[2 / 3, 1 / 3])

    loss = float(learned._loss(batch(0, 1)))

    with torch.no_grad():
        levels, label = learned.network(batch(0, 1)["image"]), batch(0, 1)["label"]
        fine, coarse = levels
        half = nn.functional.interpolate(label.float(), size=coarse.shape[2:], mode="nearest-exact")
        parts = [
            float(DiceCELoss(sigmoid=True)(level, learned.output.target(target)))
            for level, target in ((fine, label), (coarse, half))
        ]
    assert loss == pytest.approx(parts[0] * 2 / 3 + parts[1] / 3, rel=1e-5)


def test_a_contour_head_is_supervised_in_training_and_absent_from_validation():
    class TwoHeads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Conv3d(1, 3, 1)
            self.edge = nn.Conv3d(1, 1, 1)

        def forward(self, image: torch.Tensor) -> torch.Tensor | SegmentationAndContour:
            logits = self.head(image)
            return SegmentationAndContour(logits, self.edge(image)) if self.training else logits

    learned = module("labels")
    learned.network = TwoHeads()
    learned.loss = ContourSupervisionLoss(DiceCELoss(softmax=True), weight=0.5)

    trained = learned._loss(batch(0, 1))
    trained.backward()
    validated = float(learned.eval()._loss(batch(0, 1)))

    with torch.no_grad():
        logits, edge = learned.network.train()(batch(0, 1)["image"])
        target = learned.output.target(batch(0, 1)["label"])
        head = nn.functional.binary_cross_entropy_with_logits(edge, contour(target).float())
        assert validated == pytest.approx(float(DiceCELoss(softmax=True)(logits, target)), rel=1e-5)
        assert trained.item() == pytest.approx(validated + 0.5 * float(head), rel=1e-5)
    assert all(parameter.grad.abs().max() > 0 for parameter in learned.network.parameters())


def test_a_validation_step_on_a_whole_case_gives_the_label_map(tmp_path):
    learned = module("labels")

    decided = learned.validation_step(ball_case(3), 0, 1)

    with torch.no_grad():
        expected = learned.network(ball_case(3)["image"][None])[0].argmax(dim=0)
    assert torch.equal(decided, expected.to(torch.uint8))


def test_inference_goes_through_the_stage_s_inferer_and_sums_windows_in_full_precision():
    learned = module()
    image = torch.randn(1, 1, 6, 12, 12, generator=torch.Generator().manual_seed(0))
    dtypes = set()

    def inferer(inputs, predictor):
        def spied(window):
            logits = predictor(window)
            dtypes.add(logits.dtype)
            return logits

        return SlidingWindowInferer(roi_size=(6, 8, 8), overlap=0.5)(inputs, spied)

    learned.inferer = inferer
    with torch.autocast("cpu", dtype=torch.bfloat16):
        probabilities = learned.infer(image)

    assert probabilities.shape == (1, 2, 6, 12, 12)
    assert dtypes == {torch.float32}
    assert probabilities.dtype == torch.float32
    assert not probabilities.requires_grad
    learned.inferer = None
    alone = (..., slice(0, 4), slice(0, 4))  # seen by one window, far from where it ends
    np.testing.assert_allclose(probabilities[alone], learned.infer(image)[alone], atol=0.01)


def test_every_weight_of_the_module_is_the_network_s():
    # A checkpoint of the module must load into any recipe with the same network, whatever its loss.
    assert {name.split(".")[0] for name in module().state_dict()} == {"network"}
