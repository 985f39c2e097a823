from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from monai.transforms import Compose, RandGaussianNoised, ScaleIntensityRange

from kidney_lab.data.datamodule import StageDataModule
from kidney_lab.data.priors import Priors
from kidney_lab.data.sampling import EpochSampler
from kidney_lab.data.splits import Split
from kidney_lab.data.store import Cost, Store
from kidney_lab.data.store_writer import CaseRecord, create_store, write_case
from kidney_lab.data.views import PatchView, RoiView, SliceView
from kidney_lab.data.views.prior_input import PriorInput, one_hot
from kidney_lab.geometry import grid_from_spacing
from kidney_lab.transforms.augment import Augment
from kidney_lab.transforms.normalize import NormalizeForeground
from kidney_lab.transforms.spatial import RandSpatiald

SHAPE = (6, 8, 8)
SPLIT = Split(train=("case_00000", "case_00001"), val=("case_00002", "case_00003", "case_00004"), test=())


@pytest.fixture
def store(tmp_path) -> Store:
    create_store(tmp_path / "store", {})
    grid = grid_from_spacing(SHAPE, (2.0, 1.0, 1.0))
    for k, name in enumerate(SPLIT.cases):
        rng = np.random.default_rng(k)
        record = CaseRecord(
            image=rng.integers(-500, 500, SHAPE).astype(np.int16),
            label=rng.integers(0, 3, SHAPE).astype(np.uint8),
            grid=grid,
            source=grid,
            crop=tuple(slice(0, n) for n in SHAPE),
            sources={},
            seed=k,
        )
        write_case(tmp_path / "store", name, record, lambda: Cost(0.0, 0.0))
    return Store(tmp_path / "store")


def augmentation(device="cpu") -> Augment:
    spatial = RandSpatiald(rotate_prob=0.5, rotate_range=0.5, scale_prob=0.5, scale_range=(0.7, 1.4), flip_prob=0.5)
    return Augment(spatial, Compose([RandGaussianNoised(keys="image", prob=1.0, std=0.5)]), device)


def data_module(
    store,
    *,
    workers=0,
    train_prior=None,
    val_prior=None,
    samples=4,
    view=None,
    device="cpu",
    intensity=None,
    annotation="majority",
) -> StageDataModule:
    patches = PatchView(roi_size=(4, 4, 4), samples_per_epoch=samples, val_samples=4, foreground_fraction=0.5)
    return StageDataModule(
        store,
        SPLIT,
        view=view or patches,
        intensity=intensity or ScaleIntensityRange(a_min=-500, a_max=500, b_min=-1.0, b_max=1.0),
        augment=augmentation(device),
        labels=[1, 2],
        batch_size=2,
        num_workers=workers,
        seed=5,
        annotation=annotation,
        train_prior=train_prior,
        val_prior=val_prior,
    )


class Recorder(pl.LightningModule):
    """Learns nothing; keeps the batches that it is given, by epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.trained: dict[int, list[torch.Tensor]] = {}
        self.validated: dict[int, list[torch.Tensor]] = {}
        self.cases: dict[int, list[str]] = {}

    def training_step(self, batch, batch_idx):
        self.trained.setdefault(self.current_epoch, []).append(batch["image"].clone())
        return self.weight.sum()

    def validation_step(self, batch, batch_idx, dataloader_idx):
        if dataloader_idx == 0:
            self.validated.setdefault(self.current_epoch, []).append(batch["image"].clone())
        else:
            self.cases.setdefault(self.current_epoch, []).append(batch["case"])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(store, folder, *, epochs, workers=0, resume=None, **settings) -> Recorder:
    recorder = Recorder()
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        default_root_dir=folder,
        logger=False,
        callbacks=[pl.callbacks.ModelCheckpoint(folder, filename="last", save_on_train_epoch_end=True)],
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(recorder, datamodule=data_module(store, workers=workers, **settings), ckpt_path=resume)
    return recorder


def same(left, right) -> bool:
    return torch.equal(torch.cat(left), torch.cat(right))


def expected_epoch(store, epoch) -> list[torch.Tensor]:
    """The epoch's samples, drawn one by one without loader and trainer."""
    dataset = data_module(store).train_dataloader().dataset
    return [dataset[key]["image"][None] for key in EpochSampler(4, batch_size=2, epoch=epoch)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_training_sees_every_epoch_s_own_samples(store, tmp_path, workers):
    recorder = fit(store, tmp_path, epochs=3, workers=workers)

    for epoch in range(3):
        assert same(recorder.trained[epoch], expected_epoch(store, epoch))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_training_begins_with_the_samples_of_the_epoch_that_it_is_in(store, tmp_path, workers):
    # Workers read ahead as soon as the loader is built, before Lightning tells the sampler its epoch.
    fit(store, tmp_path, epochs=2)

    resumed = fit(store, tmp_path, epochs=4, workers=workers, resume=tmp_path / "last.ckpt")

    assert set(resumed.trained) == {2, 3}
    for epoch in (2, 3):
        assert same(resumed.trained[epoch], expected_epoch(store, epoch))


@pytest.mark.filterwarnings("ignore")
def test_validation_patches_are_the_same_in_every_epoch(store, tmp_path):
    recorder = fit(store, tmp_path, epochs=3)

    assert len(torch.cat(recorder.validated[0])) == 4
    assert same(recorder.validated[0], recorder.validated[1])
    assert same(recorder.validated[0], recorder.validated[2])
    assert recorder.cases == {epoch: list(SPLIT.val) for epoch in range(3)}


@pytest.mark.filterwarnings("ignore")
def test_validation_patches_are_not_augmented(store):
    patches, _ = data_module(store).val_dataloader()
    values = torch.cat([batch["image"] for batch in patches])
    whole = torch.cat([torch.from_numpy(store[name].image[...] / 500.0).float().ravel() for name in SPLIT.val])

    inside = values[values > -1.5]  # what lies beyond the border is air, -2

    assert torch.isin((inside * 500).round(), (whole * 500).round()).all()


VIEWS = {
    "patches": None,
    "slices": SliceView(size=(6, 6), neighbours=1, tumor_fraction=0.5, samples_per_epoch=4, val_samples=2),
    "roi": RoiView(size=(4, 6, 6), samples_per_epoch=4, val_samples=2),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", VIEWS)
def test_a_batch_augmented_on_the_device_is_the_one_augmented_by_the_workers(store, tmp_path, name, workers):
    intensity = NormalizeForeground(percentiles=(0.5, 99.5))
    intensity.fit(store, SPLIT.train)
    settings = {"view": VIEWS[name], "intensity": intensity}

    there = fit(store, tmp_path, epochs=2, workers=workers, device="gpu", **settings)
    here = fit(store, tmp_path, epochs=2, device="cpu", **settings)

    for epoch in range(2):
        assert same(there.trained[epoch], here.trained[epoch])
        assert same(there.validated[epoch], here.validated[epoch])


def test_workers_send_the_samples_as_they_are_stored_where_the_device_augments(store):
    batch = next(iter(data_module(store, device="gpu").train_dataloader()))

    assert isinstance(batch, list)
    assert {sample["image"].dtype for sample in batch} == {torch.int16}


def test_validation_uses_the_reference_whoever_is_learned_from(store):
    data = data_module(store, annotation="sampled")

    assert data.train_samples.annotation == "sampled"
    assert data.val_samples.annotation == "majority"


class TestPriors:
    @pytest.fixture
    def priors(self, tmp_path) -> Priors:
        """Predictions that are the reference, one label on."""
        made = Priors(tmp_path / "priors")
        for k, name in enumerate(SPLIT.cases):
            rng = np.random.default_rng(k)
            rng.integers(-500, 500, SHAPE)
            made.write(name, (rng.integers(0, 3, SHAPE).astype(np.uint8) + 1) % 3)
        return made

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("workers", [0, 2])
    @pytest.mark.parametrize("device", ["cpu", "gpu"])
    def test_training_and_validation_each_see_their_own(self, store, priors, tmp_path, workers, device):
        shown = {
            "train_prior": PriorInput(None, labels=[1, 2], reference=True),
            "val_prior": PriorInput(priors, labels=[1, 2], places=True),
        }
        seen = {"train": [], "patches": [], "cases": []}

        class Keeper(Recorder):
            def training_step(self, batch, batch_idx):
                seen["train"].append({key: batch[key].clone() for key in ("image", "label")})
                return super().training_step(batch, batch_idx)

            def validation_step(self, batch, batch_idx, dataloader_idx):
                seen["cases" if dataloader_idx else "patches"].append(batch)

        data = data_module(store, workers=workers, device=device, **shown)
        pl.Trainer(
            max_epochs=1, accelerator="cpu", default_root_dir=tmp_path, logger=False, use_distributed_sampler=False,
            num_sanity_val_steps=0, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        ).fit(Keeper(), datamodule=data)  # fmt: skip

        for batch in seen["train"]:
            for image, label in zip(batch["image"], batch["label"], strict=True):
                assert torch.equal(image[1:], one_hot(label, [1, 2]))
        for batch in seen["patches"]:
            inside = batch["image"][:, :1] > -1.5  # what lies beyond the volume is air, -2, and no label
            for image, label, within in zip(batch["image"], batch["label"], inside, strict=True):
                assert torch.equal(image[1:], one_hot((label + 1) % 3 * within, [1, 2]))
        assert [batch["case"] for batch in seen["cases"]] == list(SPLIT.val)
        assert all(torch.equal(batch["prior"], (batch["label"] + 1) % 3) for batch in seen["cases"])


class FakeTrainer:
    """One of three ranks in epoch 7."""

    current_epoch, global_rank, world_size = 7, 1, 3
    fit_loop = SimpleNamespace(epoch_progress=SimpleNamespace(current=SimpleNamespace(processed=7, completed=7)))
    strategy = SimpleNamespace(root_device=torch.device("cpu"))


def test_ranks_share_training_samples_and_whole_cases(store):
    data = data_module(store, samples=12)
    data.trainer = FakeTrainer()

    train = list(data.train_dataloader().sampler)
    patches, cases = data.val_dataloader()

    assert [(key.epoch, key.index) for key in train] == [(7, 2), (7, 3), (7, 8), (7, 9)]
    assert [key.epoch for key in patches.sampler] == [0, 0]
    assert cases.dataset.cases == ["case_00003"]


def test_a_rank_without_a_case_has_an_empty_loader(store):
    data = data_module(store)
    data.trainer = type("Trainer", (FakeTrainer,), {"global_rank": 3, "world_size": 4})()

    assert len(data.val_dataloader()[1]) == 0


def test_two_cores_are_left_to_the_training(store, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    assert data_module(store, workers=None).num_workers == 2
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    assert data_module(store, workers=None).num_workers == 0
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert data_module(store, workers=None).num_workers == 8
    assert data_module(store, workers=0).num_workers == 0
