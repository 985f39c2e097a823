from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import WandbLogger
from torch.utils.data import DataLoader

from kidney_lab.methods.callbacks import EpochSeed, EpochTable, LogSlices


def state(folder, *, epoch: int, first=True, sanity=False, **metrics: float) -> SimpleNamespace:
    """What `EpochTable` reads of a trainer."""
    return SimpleNamespace(
        is_global_zero=first,
        sanity_checking=sanity,
        callback_metrics={name: torch.tensor(value) for name, value in metrics.items()},
        current_epoch=epoch,
        global_step=10 * (epoch + 1),
        default_root_dir=str(folder),
        check_val_every_n_epoch=1,
        fit_loop=SimpleNamespace(epoch_loop=SimpleNamespace(_should_check_val_epoch=lambda: True)),
    )


def write(folder, stage: str, epoch: int, **metrics: float) -> None:
    table = EpochTable()
    table.stage = stage
    table.on_train_epoch_end(state(folder, epoch=epoch, **metrics), None)


def rows(folder) -> pd.DataFrame:
    return pd.read_csv(folder / "epochs.csv")


class OtherTrainer(SimpleNamespace):
    """That of a process which is not the first; counts how often its metrics are looked at."""

    looked = 0

    @property
    def callback_metrics(self):
        self.looked += 1
        return {}


def test_other_processes_write_nothing_but_look_because_looking_averages(tmp_path):
    trainer = OtherTrainer(is_global_zero=False, sanity_checking=False, default_root_dir=str(tmp_path))
    EpochTable().on_train_epoch_end(trainer, None)

    assert trainer.looked == 1
    assert not list(tmp_path.iterdir())


class Module(pl.LightningModule):
    """Logs its epoch as its validation value and what dropout draws as its training value."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.drawn: dict[int, list[float]] = {}

    def training_step(self, batch, batch_idx):
        draw = torch.rand(())
        self.drawn.setdefault(self.current_epoch, []).append(float(draw))
        self.log("train/draw", draw, on_step=True, on_epoch=True)
        return self.weight.sum()

    def validation_step(self, batch, batch_idx):
        self.log("val_case/mean_dice", float(self.current_epoch))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(folder, *, callbacks, epochs, every=1, resume=None) -> Module:
    module, data = Module(), DataLoader(torch.zeros(3, 1))
    trainer = pl.Trainer(
        max_epochs=epochs,
        check_val_every_n_epoch=every,
        accelerator="cpu",
        default_root_dir=folder,
        logger=False,
        callbacks=[*callbacks, pl.callbacks.ModelCheckpoint(folder, filename="last", save_on_train_epoch_end=True)],
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, data, data, ckpt_path=resume)
    return module


class TestEpochTable:
    def test_every_epoch_has_a_row_with_a_column_per_metric(self, tmp_path):
        write(tmp_path, "coarse", 0, **{"train/loss": 0.5, "val_case/mean_dice": 0.25})
        write(tmp_path, "coarse", 1, **{"train/loss": 0.125, "val_case/mean_dice": 0.75})

        assert rows(tmp_path).to_dict("records") == [
            {"stage": "coarse", "epoch": 0, "step": 10, "train/loss": 0.5, "val_case/mean_dice": 0.25},
            {"stage": "coarse", "epoch": 1, "step": 20, "train/loss": 0.125, "val_case/mean_dice": 0.75},
        ]

    def test_lightning_s_doubles_of_a_metric_are_left_out(self, tmp_path):
        write(tmp_path, "s", 0, **{"train/loss": 1.0, "train/loss_step": 2.0, "train/loss_epoch": 3.0})

        assert list(rows(tmp_path)) == ["stage", "epoch", "step", "train/loss"]

    def test_the_progress_bar_s_names_are_left_out(self, tmp_path):
        write(tmp_path, "s", 0, **{"train/loss": 1.0, "loss": 1.0, "dice": 0.5, "lr": 0.1})

        assert list(rows(tmp_path)) == ["stage", "epoch", "step", "train/loss", "lr"]

    def test_epochs_that_are_trained_again_after_a_resume_are_replaced(self, tmp_path):
        for epoch in range(4):
            write(tmp_path, "s", epoch, **{"train/loss": float(epoch)})

        write(tmp_path, "s", 2, **{"train/loss": 9.0})

        assert rows(tmp_path)["epoch"].tolist() == [0, 1, 2]
        assert rows(tmp_path)["train/loss"].tolist() == [0.0, 1.0, 9.0]

    def test_a_later_stage_adds_to_the_table_and_leaves_the_rows_of_the_stage_before(self, tmp_path):
        write(tmp_path, "coarse", 0, **{"train/loss": 1.0})
        write(tmp_path, "coarse", 1, **{"train/loss": 2.0})
        write(tmp_path, "fine", 0, **{"train/other": 3.0})

        table = rows(tmp_path)

        assert table[["stage", "epoch"]].values.tolist() == [["coarse", 0], ["coarse", 1], ["fine", 0]]
        assert table["train/loss"].tolist()[:2] == [1.0, 2.0]
        assert np.isnan(table["train/loss"][2])
        assert np.isnan(table["train/other"][0])

    def test_numbers_survive_being_written_again_every_epoch(self, tmp_path):
        value = float(np.float32(1) / np.float32(3e7))
        for epoch in range(20):
            write(tmp_path, "s", epoch, **{"train/loss": value})

        assert set(rows(tmp_path)["train/loss"]) == {value}

    @pytest.mark.parametrize("case", [{"first": False}, {"sanity": True}])
    def test_other_ranks_and_the_sanity_check_write_nothing(self, tmp_path, case):
        EpochTable().on_train_epoch_end(state(tmp_path, epoch=0, loss=1.0, **case), None)

        assert not (tmp_path / "epochs.csv").exists()

    @pytest.mark.filterwarnings("ignore")
    def test_the_values_of_a_training_are_the_means_over_its_epoch(self, tmp_path):
        table = EpochTable()
        table.stage = "s"

        module = fit(tmp_path, callbacks=[table], epochs=3)

        assert rows(tmp_path)["step"].tolist() == [3, 6, 9]
        assert rows(tmp_path)["val_case/mean_dice"].tolist() == [0.0, 1.0, 2.0]
        means = [np.mean(module.drawn[epoch]) for epoch in range(3)]
        np.testing.assert_allclose(rows(tmp_path)["train/draw"], means, rtol=1e-6)

    @pytest.mark.filterwarnings("ignore")
    def test_an_epoch_without_a_validation_has_no_validation_value(self, tmp_path):
        table = EpochTable()
        table.stage = "s"

        fit(tmp_path, callbacks=[table], epochs=5, every=2)  # validates in epochs 1 and 3

        values = rows(tmp_path)["val_case/mean_dice"]
        assert values[[1, 3]].tolist() == [1.0, 3.0]
        assert values[[0, 2, 4]].isna().all()


class TestEpochSeed:
    @pytest.mark.filterwarnings("ignore")
    def test_a_resumed_training_draws_what_the_uninterrupted_one_draws(self, tmp_path):
        whole = fit(tmp_path / "whole", callbacks=[EpochSeed(3)], epochs=4)
        fit(tmp_path / "parts", callbacks=[EpochSeed(3)], epochs=2)
        torch.rand(7)

        resumed = fit(tmp_path / "parts", callbacks=[EpochSeed(3)], epochs=4, resume=tmp_path / "parts" / "last.ckpt")

        assert resumed.drawn == {epoch: whole.drawn[epoch] for epoch in (2, 3)}

    def test_seeds_epochs_and_ranks_draw_differently(self):
        def draw(seed: int, epoch: int, rank: int) -> float:
            EpochSeed(seed).on_train_batch_start(SimpleNamespace(current_epoch=epoch, global_rank=rank), None, None, 0)
            return float(torch.rand(()))

        keys = [(seed, epoch, rank) for seed in range(3) for epoch in range(3) for rank in range(3)]

        assert len({draw(*key) for key in keys}) == len(keys)
        assert draw(1, 2, 0) == draw(1, 2, 0)


class FakeWandb(WandbLogger):
    """Keeps what it is told to log."""

    def __init__(self) -> None:
        self.logged: list[tuple] = []

    def log_image(self, key, images, step=None, **kwargs) -> None:
        self.logged.append((key, images, step, kwargs["masks"]))


def case() -> tuple[dict, torch.Tensor]:
    """A case whose slice 2 has the most tumor, and a prediction."""
    label = torch.zeros((1, 4, 3, 3), dtype=torch.uint8)
    label[0, 1, 0, 0], label[0, 2, 1, :2], label[0, 3] = 2, 2, 1
    image = (100 * torch.arange(36, dtype=torch.int16) - 2000).reshape(1, 4, 3, 3)  # slice 2: -200 to 600 HU
    return {"image": image, "label": label, "case": "case_00004"}, (label[0] > 0).to(torch.uint8)


class TestLogSlices:
    def log(self, logger, batch, outputs, *, index=0, n_slices=1) -> None:
        trainer = SimpleNamespace(logger=logger, global_step=50)
        LogSlices(n_slices).on_validation_batch_end(trainer, None, outputs, batch, index, 1)

    def test_the_slice_with_the_most_tumor_is_shown_in_a_soft_tissue_window_with_both_masks(self):
        logger, (batch, predicted) = FakeWandb(), case()

        self.log(logger, batch, predicted)

        ((key, images, step, masks),) = logger.logged
        assert (key, step) == ("slices/case_00004", 50)
        expected = [[0, 0.15, 0.4], [0.65, 0.9, 1], [1, 1, 1]]  # from -160 HU, black, to 240 HU, white
        np.testing.assert_allclose(images[0], expected, atol=1e-6)
        np.testing.assert_array_equal(masks[0]["reference"]["mask_data"], batch["label"][0, 2])
        np.testing.assert_array_equal(masks[0]["prediction"]["mask_data"], predicted[2])
        assert masks[0]["reference"]["class_labels"] == {0: "background", 1: "kidney", 2: "tumor", 3: "cyst"}

    def test_only_the_first_cases_are_shown(self):
        logger, (batch, predicted) = FakeWandb(), case()

        for index in range(5):
            self.log(logger, batch, predicted, index=index, n_slices=2)

        assert len(logger.logged) == 2

    def test_patches_are_passed_over(self):
        logger = FakeWandb()
        self.log(logger, {"image": torch.zeros(2, 1, 3, 3, 3), "label": torch.zeros(2, 1, 3, 3, 3)}, None)
        assert logger.logged == []

    def test_without_weights_and_biases_nothing_happens(self):
        self.log(None, *case())
