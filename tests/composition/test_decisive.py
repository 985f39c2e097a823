import pytest

from kidney_lab.composition.decisive import decisive, is_decisive, is_split_file


@pytest.mark.parametrize(
    "key",
    [
        *("data.root", "logger", "logger.tags", "prepare.workers", "trust", "inference.memory_gib", "hydra.job.num"),
        *("experiment.compare.PM", "trainer.profiler", "callbacks.slices.n_slices", "callbacks.best.dirpath"),
    ],
)
def test_where_things_lie_and_how_a_run_is_shown_decides_nothing(key):
    assert not is_decisive(key)


@pytest.mark.parametrize(
    "key",
    [
        *("seed", "init", "view", "view.neighbours", "data", "data.split", "trainer", "trainer.max_epochs", "trainers"),
        *("model.roi.source", "model.weights", "inference.mirror_axes", "callbacks.early_stopping", "experiment.row"),
    ],
)
def test_what_is_learned_and_how_scans_are_looked_at_decides(key):
    assert is_decisive(key)


def test_what_stands_beside_what_is_left_out_stays():
    plain = {
        "a": [{"dirpath": "x", "monitor": "loss"}],
        "model": {"root": "r"},
        "data": {"root": "x", "source": {"name": "kits19"}, "fold": 1},
        "prepare": {"root": "y", "workers": 2},
        "trainer": {"profiler": None, "max_epochs": 3},
    }
    assert decisive(plain) == {
        "a": [{"monitor": "loss"}],
        "model": {"root": "r"},
        "data": {"fold": 1},
        "trainer": {"max_epochs": 3},
    }


@pytest.mark.parametrize(("split", "is_file"), [("cases.json", True), ("kidney_lab", False), (None, False)])
def test_a_split_is_a_file_or_a_name(split, is_file):
    assert is_split_file(split) is is_file
