import json
import signal

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from kidney_lab.composition.resolvers import register_resolvers
from kidney_lab.composition.search_path import config_folder
from kidney_lab.data.dataset import Dataset
from kidney_lab.data.splits import Split
from kidney_lab.data.store import Cost, Store
from kidney_lab.data.store_writer import CaseRecord, create_store, write_case
from kidney_lab.errors import InputError
from kidney_lab.geometry import grid_from_spacing
from kidney_lab.methods.callbacks import EpochTable
from kidney_lab.methods.cost import count_flops, count_parameters
from kidney_lab.methods.fit import build_callbacks, fit_stage, warm_start
from kidney_lab.methods.supervised import SupervisedSegmentation

SHAPE = (16, 20, 20)
SPLIT = Split(train=("case_00000", "case_00001", "case_00002"), val=("case_00003",), test=())

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    path = tmp_path_factory.mktemp("store")
    create_store(path, {})
    grid = grid_from_spacing(SHAPE, (6.0, 8.0, 8.0))
    d, h, w = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    for k, name in enumerate(SPLIT.cases):
        rng = np.random.default_rng(k)
        label = np.zeros(SHAPE, np.uint8)
        label[(d - 8) ** 2 + (h - 9) ** 2 + (w - 10 - k) ** 2 < 30] = 1
        label[7:10, 8:11, 9:12] = 2
        label[5:7, 8:10, 12:14] = 3
        image = (label * 60 + rng.normal(0, 10, SHAPE)).astype(np.int16)
        whole = tuple(slice(0, n) for n in SHAPE)
        record = CaseRecord(image=image, label=label, grid=grid, source=grid, crop=whole, sources={}, seed=k)
        write_case(path, name, record, lambda: Cost(0.0, 0.0))
    return Store(path)


@pytest.fixture(autouse=True)
def leave_the_interrupt_handler_as_it_was():
    interrupt = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, interrupt)


def recipe(*overrides: str):
    """The smoke recipe with dropout, so that every source of chance takes part."""
    register_resolvers()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return compose(
            "config",
            overrides=[
                "trainer=smoke",
                "data.num_workers=0",
                "scheduler.total_iters=3",
                "+model.stages.segmentation.module.network.dropout=0.2",
                "+trainer.enable_progress_bar=false",
                *overrides,
            ],
        )


def fit(store, folder, *overrides: str) -> dict:
    """Trains in fresh objects, as a new process would."""
    config = recipe(*overrides)
    dataset: Dataset = instantiate(config.data, _convert_="all")
    torch.manual_seed(config.seed)
    return fit_stage(
        "segmentation",
        config=config,
        dataset=dataset,
        split=SPLIT,
        store=store,
        checkpoints=folder / "stages" / "segmentation",
        precision="32-true",
    )


def checkpoint(folder, name="last") -> dict:
    return torch.load(folder / "stages" / "segmentation" / f"{name}.ckpt", map_location="cpu", weights_only=True)


def assert_equal(left, right, where="checkpoint") -> None:
    """Compares nested checkpoints bit by bit."""
    assert type(left) is type(right), where
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right), where
    elif isinstance(left, dict):
        assert left.keys() == right.keys(), where
        for key in left:
            assert_equal(left[key], right[key], f"{where}.{key}")
    elif isinstance(left, list | tuple):
        assert len(left) == len(right), where
        for k, (a, b) in enumerate(zip(left, right, strict=True)):
            assert_equal(a, b, f"{where}.{k}")
    else:
        assert left == right, where


def assert_same_training(whole, parts) -> None:
    for name in ("last", "best"):
        one, other = checkpoint(whole, name), checkpoint(parts, name)
        for key in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step"):
            assert_equal(one[key], other[key], f"{name}.{key}")
    pd.testing.assert_frame_equal(
        pd.read_csv(whole / "epochs.csv"), pd.read_csv(parts / "epochs.csv"), check_exact=True
    )


@pytest.fixture(scope="module")
def whole(store, tmp_path_factory):
    """Three epochs in one go."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, fit(store, folder, "trainer.max_epochs=3")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_training_ends_bit_for_bit_where_the_uninterrupted_one_ends(store, whole, tmp_path, workers):
    fit(store, tmp_path, "trainer.max_epochs=1")
    torch.rand(13)  # a new process has another random state

    fit(store, tmp_path, "trainer.max_epochs=3", f"data.num_workers={workers}")

    assert_same_training(whole[0], tmp_path)


def test_a_training_interrupted_within_an_epoch_is_an_interrupt_and_goes_on_from_the_epoch_before(
    store, whole, tmp_path, monkeypatch
):
    def interrupted(self, batch, batch_idx):
        if self.current_epoch == 1 and batch_idx == 1:
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    step = SupervisedSegmentation.training_step
    with monkeypatch.context() as patched:
        patched.setattr(SupervisedSegmentation, "training_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fit(store, tmp_path, "trainer.max_epochs=3")

    fit(store, tmp_path, "trainer.max_epochs=3")

    assert_same_training(whole[0], tmp_path)


def test_a_signal_that_ends_the_loader_s_processes_first_is_an_interrupt(store, tmp_path, monkeypatch):
    def terminated(self, batch, batch_idx):
        signal.raise_signal(signal.SIGTERM)
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Terminated.")

    monkeypatch.setattr(SupervisedSegmentation, "training_step", terminated)

    with pytest.raises(KeyboardInterrupt):
        fit(store, tmp_path, "trainer.max_epochs=1")


def test_another_error_of_a_training_is_no_interrupt(store, tmp_path, monkeypatch):
    def failing(self, batch, batch_idx):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(SupervisedSegmentation, "training_step", failing)

    with pytest.raises(RuntimeError, match="shapes do not match"):
        fit(store, tmp_path, "trainer.max_epochs=1")


@pytest.mark.parametrize("epochs", [3, 5])
def test_epochs_without_validation_change_nothing_about_resuming(store, tmp_path, epochs):
    every = "trainer.check_val_every_n_epoch=2", "scheduler.total_iters=5"
    fit(store, tmp_path / "whole", f"trainer.max_epochs={epochs}", *every)
    fit(store, tmp_path / "parts", "trainer.max_epochs=2", *every)

    fit(store, tmp_path / "parts", f"trainer.max_epochs={epochs}", *every)

    assert_same_training(tmp_path / "whole", tmp_path / "parts")


def test_two_trainings_of_one_seed_are_the_same(store, whole, tmp_path):
    fit(store, tmp_path, "trainer.max_epochs=3")

    assert_same_training(whole[0], tmp_path)


def test_the_record_says_what_was_trained_and_what_it_costs(whole):
    folder, record = whole
    network = instantiate(recipe().model.stages.segmentation.module.network, _convert_="all")
    table = pd.read_csv(folder / "epochs.csv")

    assert record["parameters"] == count_parameters(network)
    assert record["input_shape"] == [1, 1, 16, 16, 16]
    assert record["flops"] == count_flops(network, (1, 1, 16, 16, 16))
    assert (record["epochs"], record["steps"]) == (3, 6)
    assert record["best"]["monitor"] == "val_case/mean_dice"
    assert record["best"]["value"] == pytest.approx(table["val_case/mean_dice"].max())
    assert record["best"]["epoch"] == table["val_case/mean_dice"].idxmax()
    assert record["wall_time_s"] > 0


def test_a_training_that_ends_before_its_first_validation_can_still_be_used(store, tmp_path):
    fit(store, tmp_path, "trainer.max_epochs=1", "trainer.check_val_every_n_epoch=2")

    assert (tmp_path / "stages" / "segmentation" / "best.ckpt").is_file()


def test_a_stage_that_is_finished_is_not_trained_again(store, whole, tmp_path):
    before = checkpoint(whole[0])["state_dict"]

    record = fit(store, whole[0], "trainer.max_epochs=3")

    assert (record["epochs"], record["steps"]) == (3, 6)
    assert_equal(checkpoint(whole[0])["state_dict"], before)


def test_intensities_are_normalised_by_the_training_cases_and_kept_with_the_run(store, tmp_path):
    fit(store, tmp_path, "intensity=cascade_unet", "trainer.max_epochs=1")

    kept = json.loads((tmp_path / "stages" / "segmentation" / "intensity.json").read_text())
    cases = [store[name] for name in SPLIT.train]
    raw = np.concatenate([case.image[...][case.label[...] > 0] for case in cases])
    assert kept["n"] == raw.size
    assert (kept["mean"], kept["std"]) == pytest.approx((raw.mean(), raw.std()))
    assert (kept["lower"], kept["upper"]) == pytest.approx(tuple(np.percentile(raw, (0.5, 99.5))))


def test_a_resumed_training_keeps_the_statistics_that_it_was_begun_with(store, tmp_path):
    fit(store, tmp_path, "intensity=cascade_unet", "trainer.max_epochs=1")
    kept = tmp_path / "stages" / "segmentation" / "intensity.json"
    changed = json.loads(kept.read_text()) | {"mean": 1.5}
    kept.write_text(json.dumps(changed))

    fit(store, tmp_path, "intensity=cascade_unet", "trainer.max_epochs=2")

    assert json.loads(kept.read_text()) == changed


def test_a_training_on_boxes_of_one_size_takes_them_whole(store, tmp_path):
    record = fit(store, tmp_path, "view=roi", "view.patch_size=null", "view.multiple=8", "trainer.max_epochs=1")

    # The labels of every case reach over 11 voxels along every axis.
    assert record["input_shape"] == [1, 1, 16, 16, 16]
    assert json.loads((tmp_path / "stages" / "segmentation" / "view.json").read_text()) == {"size": [16, 16, 16]}


def test_a_network_of_slices_trains_on_slices(store, tmp_path):
    stage = "model.stages.segmentation"
    record = fit(
        store,
        tmp_path,
        "view=slices",
        "view.size=null",
        "view.roi_size=[16,16]",
        f"{stage}.module.network.spatial_dims=2",
        f"{stage}.inferer._target_=monai.inferers.SlidingWindowInferer",
        f"{stage}.inferer.roi_size=[16,16]",
        "trainer.max_epochs=1",
    )

    assert record["input_shape"] == [1, 1, 16, 16]
    assert record["best"]["value"] >= 0


@pytest.mark.parametrize("name", ["patches", "roi"])
def test_augmenting_on_the_device_trains_the_same_network(store, tmp_path, name):
    settings = [f"view={name}", "augment=default", "trainer.max_epochs=2"]
    fit(store, tmp_path / "workers", *settings)
    fit(store, tmp_path / "device", *settings, "augment.device=gpu")

    assert_same_training(tmp_path / "workers", tmp_path / "device")


def test_callbacks_are_told_their_stage_and_where_its_checkpoints_go(tmp_path):
    config = recipe("callbacks.slices=null").callbacks

    callbacks = build_callbacks(config, tmp_path / "stages" / "coarse", "coarse")

    folders = [callback.dirpath for callback in callbacks if hasattr(callback, "dirpath")]
    assert folders == [str(tmp_path / "stages" / "coarse")] * 3
    assert [callback.stage for callback in callbacks if isinstance(callback, EpochTable)] == ["coarse"]
    assert len(callbacks) == 7
    assert config.best.dirpath is None


class TestWarmStart:
    def module(self, *overrides: str) -> SupervisedSegmentation:
        return instantiate(recipe(*overrides).model.stages.segmentation.module, _convert_="all")

    def test_a_run_folder_gives_the_weights_of_its_best_checkpoint(self, whole):
        module = self.module()

        warm_start(module, whole[0], "segmentation")

        assert_equal(dict(module.state_dict()), dict(checkpoint(whole[0], "best")["state_dict"]))

    def test_a_file_gives_its_weights_as_a_checkpoint_or_as_a_plain_dictionary(self, whole, tmp_path):
        plain = tmp_path / "weights.pt"
        torch.save(checkpoint(whole[0])["state_dict"], plain)

        for path in (plain, whole[0] / "stages" / "segmentation" / "last.ckpt"):
            module = self.module()
            warm_start(module, path, "any")
            assert_equal(dict(module.state_dict()), dict(checkpoint(whole[0])["state_dict"]))

    def test_a_training_starts_from_them_and_takes_nothing_else(self, store, whole, tmp_path):
        record = fit(store, tmp_path, "trainer.max_epochs=1", f"init='{whole[0]}'", "optimizer.lr=0")

        state = checkpoint(tmp_path)
        assert (record["epochs"], state["epoch"], state["global_step"]) == (1, 0, 2)
        assert_equal(dict(state["state_dict"]), dict(checkpoint(whole[0], "best")["state_dict"]))

    def test_weights_of_another_shape_are_refused_in_one_sentence(self, whole):
        with pytest.raises(InputError, match=r"init=.*best\.ckpt does not fit this model, .*size mismatch") as refused:
            warm_start(self.module("model.channels=[6,8,8]"), whole[0], "segmentation")

        assert "\n" not in str(refused.value)

    def test_a_stage_that_the_run_lacks_is_refused(self, whole):
        with pytest.raises(
            InputError, match=r"has no checkpoint .*fine/best\.ckpt: name a run folder or a \.ckpt file"
        ):
            warm_start(self.module(), whole[0], "fine")

    def test_a_file_that_is_not_there_is_refused(self, tmp_path):
        with pytest.raises(InputError, match=r"nothing\.ckpt: name a run folder"):
            warm_start(self.module(), tmp_path / "nothing.ckpt", "segmentation")

    def test_a_file_that_is_no_checkpoint_is_refused(self, tmp_path):
        path = tmp_path / "notes.ckpt"
        path.write_text("not a checkpoint")

        with pytest.raises(InputError, match="init="):
            warm_start(self.module(), path, "segmentation")
