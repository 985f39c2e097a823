import json

import pandas as pd
import pytest
from omegaconf import OmegaConf

from kidney_lab.data.splits import Split
from kidney_lab.tasks.run_folder import RunFolder
from kidney_lab.tasks.shared_stages import take_stage, training_key

SPLIT = Split(train=("case_00000",), val=("case_00001",), test=("case_00002",))
CODE = {"commit": "abc", "dirty": False, "versions": {"torch": "2"}}
CONFIG = {
    "model": {
        "stages": {
            "coarse": {"lr": 1},
            "fine": {"lr": 2, "earlier": {"stage": "coarse"}},
            "refit": {"k": 3, "contains": "fine"},
            "other": {"lr": 4},
        }
    },
    "data": {"name": "kits19", "root": "here"},
    "trainer": {"max_epochs": 3},
    "callbacks": {},
    "inference": {"mirror_axes": None, "memory_gib": None},
    "seed": 0,
    "init": None,
    "experiment": {"row": "Baseline"},
}


def key(stage="refit", split=SPLIT, **changes):
    config = OmegaConf.create(CONFIG)
    for name, value in changes.items():
        OmegaConf.update(config, name.replace("__", "."), value)
    return training_key(config, stage, split)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"init": "a run"},
        {"trainer__max_epochs": 4},
        {"inference__mirror_axes": [1]},
        {"data__name": "kits21"},
        {"model__stages__refit__k": 4},
        {"model__stages__fine__lr": 3},
        {"model__stages__coarse__lr": 3},
        {"split": Split(train=("case_00009",), val=("case_00001",), test=("case_00002",))},
    ],
    ids=str,
)
def test_what_a_stage_learns_from_makes_another_key(change):
    assert key(**change) != key()


@pytest.mark.parametrize(
    ("stage", "change"),
    [
        ("refit", {"model__stages__other__lr": 5}),
        ("coarse", {"model__stages__fine__lr": 5}),
        ("refit", {"data__root": "there"}),
        ("refit", {"inference__memory_gib": 4}),
        ("refit", {"experiment__row": "Baseline + MSAL"}),
    ],
)
def test_later_stages_rows_and_paths_leave_the_key_alone(stage, change):
    assert key(stage, **change) == key(stage)


def test_weights_to_begin_with_count_by_what_they_hold(tmp_path):
    for name, content in {"a": "one", "b": "one", "c": "other"}.items():
        (tmp_path / f"{name}.ckpt").write_text(content)
    one, copied, other = (key(init=str(tmp_path / f"{name}.ckpt")) for name in "abc")

    assert one == copied
    assert one != other


@pytest.fixture
def sweep(tmp_path):
    """A sweep with a job whose stages are trained, scored, and have a curve."""
    job = tmp_path / "0"
    for file in ("best.ckpt", "last.ckpt", "priors/g/label.b2nd", "predictions/c.nii.gz", "metrics.csv", "folds/0/a"):
        path = job / "stages" / "coarse" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file)
    trained = {"coarse": {"key": "k", "steps": 7}, "fine": {"key": "f", "steps": 9}}
    (job / "run.json").write_text(json.dumps({"stages": trained, **CODE}))
    rows = [{"stage": "coarse", "epoch": 0, "loss": 0.5}, {"stage": "fine", "epoch": 0, "loss": 0.25}]
    pd.DataFrame(rows).to_csv(job / "epochs.csv", index=False)
    return tmp_path


def run_of(sweep, **record):
    (sweep / "1").mkdir()
    return RunFolder(sweep / "1", {"stages": {}, **CODE, **record}, sweep=sweep)


def test_a_stage_comes_with_weights_priors_and_curve_and_without_scores(sweep):
    run = run_of(sweep)
    folder = run.path / "stages" / "coarse"

    assert take_stage(run, "coarse", "k", folder) == {"key": "k", "steps": 7, "taken_from": "0"}

    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert files == ["best.ckpt", "last.ckpt", "priors/g/label.b2nd"]
    assert pd.read_csv(run.path / "epochs.csv").to_dict("records") == [{"stage": "coarse", "epoch": 0, "loss": 0.5}]


def test_curves_of_the_stages_before_stay(sweep):
    run = run_of(sweep)
    pd.DataFrame([{"stage": "before", "epoch": 3, "dice": 0.75}]).to_csv(run.path / "epochs.csv", index=False)

    take_stage(run, "coarse", "k", run.path / "stages" / "coarse")

    assert list(pd.read_csv(run.path / "epochs.csv")["stage"]) == ["before", "coarse"]


def test_a_stage_that_was_taken_names_the_job_that_trained_it(sweep):
    record = json.loads((sweep / "0" / "run.json").read_text())
    record["stages"]["coarse"]["taken_from"] = "9"
    (sweep / "0" / "run.json").write_text(json.dumps(record))

    run = run_of(sweep)

    assert take_stage(run, "coarse", "k", run.path / "stages" / "coarse")["taken_from"] == "9"


@pytest.mark.parametrize(
    "record",
    [{"commit": "other"}, {"dirty": True}, {"versions": {"torch": "3"}}],
    ids=lambda record: next(iter(record)),
)
def test_nothing_is_taken_from_other_code(sweep, record):
    run = run_of(sweep, **record)

    assert take_stage(run, "coarse", "k", run.path / "stages" / "coarse") is None


@pytest.mark.parametrize("where", ["here", "there"])
def test_uncommitted_changes_are_told_once_a_run_where_a_stage_would_have_been_taken(sweep, caplog, where):
    other = json.loads((sweep / "0" / "run.json").read_text())
    (sweep / "0" / "run.json").write_text(json.dumps({**other, "dirty": where == "there"}))
    run = run_of(sweep, dirty=where == "here")

    with caplog.at_level("INFO"):
        for stage, name in (("coarse", "another"), ("coarse", "k"), ("fine", "f")):
            take_stage(run, stage, name, run.path / "stages" / stage)

    (told,) = [entry.message for entry in caplog.records]
    assert told.startswith(f"{run.path} trains what another job of its sweep has trained: the checkout had uncommitted")


def test_nothing_is_taken_by_another_key_outside_a_sweep_or_over_a_training_that_was_begun(sweep):
    run = run_of(sweep)
    folder = run.path / "stages" / "coarse"

    assert take_stage(run, "coarse", "another", folder) is None
    assert take_stage(run, "fine", "k", folder) is None
    assert take_stage(RunFolder(run.path, run.record), "coarse", "k", folder) is None
    folder.mkdir(parents=True)
    assert take_stage(run, "coarse", "k", folder) is None
