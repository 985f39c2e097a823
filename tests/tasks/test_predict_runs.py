import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from kidney_lab.errors import InputError
from kidney_lab.tasks.predict_runs import MadeBy, chosen_runs


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        ("runs/a", ["runs/a"]),
        ("runs/a,b", ["runs/a,b"]),
        ("[runs/a]", ["runs/a"]),
        ("[runs/a, runs/b]", ["runs/a", "runs/b"]),
        ("['runs/a, b',\"runs/c\"]", ["runs/a, b", "runs/c"]),
        ("[runs/x=1,runs/[a] b]", ["runs/x=1", "runs/[a] b"]),
        (OmegaConf.create(["runs/a", "runs/b"]), ["runs/a", "runs/b"]),
    ],
)
def test_one_run_or_several(value, paths):
    assert chosen_runs(value) == [Path(path) for path in paths]


def test_a_folder_in_brackets_is_that_folder(tmp_path):
    (tmp_path / "[a,b]").mkdir()
    assert chosen_runs(str(tmp_path / "[a,b]")) == [tmp_path / "[a,b]"]


def test_no_run_is_refused():
    with pytest.raises(InputError, match=r"run=\[\] names no run"):
        chosen_runs("[]")
    for empty in ("", None):
        with pytest.raises(InputError, match=r"^run= is empty: name the folder"):
            chosen_runs(empty)


def test_settings_are_those_that_each_run_and_each_member_looks_with(write_threshold_run, tmp_path):
    runs = [write_threshold_run(tmp_path / name) for name in "ab"]
    config = OmegaConf.load(runs[0] / "config.yaml")
    config.inference = {"mirror_axes": [2, 1]}
    OmegaConf.save(config, runs[0] / "config.yaml")
    trained = MadeBy.read(runs)

    assert [settings["mirror_axes"] for settings in trained.settings] == [[1, 2], []]
    same = {"precision": "trained", "skip_air": True, "memory_gib": 0.5}
    assert MadeBy.read(runs, settings=same) == trained
    assert [s["mirror_axes"] for s in MadeBy.read(runs, settings={"skip_air": False}).settings] == [[1, 2], []]
    with pytest.raises(InputError, match=r"inference\.skip_air=no is neither"):
        MadeBy.read(runs, settings={"skip_air": "no"})

    config.model.member_runs = [str(runs[1])]
    OmegaConf.save(config, runs[0] / "config.yaml")
    assert [settings["mirror_axes"] for settings in MadeBy.read(runs[:1]).settings] == [[1, 2], []]


def test_the_marks_of_runs_name_the_algorithm_and_not_their_place(write_threshold_run, tmp_path):
    run = write_threshold_run(tmp_path / "a")
    (tmp_path / "moved").mkdir()
    moved = run.rename(tmp_path / "moved" / "b")
    made_by = MadeBy.read([moved])
    assert made_by.algorithm.name == "threshold-made"
    assert made_by.algorithm.version == "73fc448d599b"
    assert str(tmp_path) not in json.dumps(made_by.runs)

    both = MadeBy.read([moved, write_threshold_run(tmp_path / "c")])
    assert both.algorithm.name == "mean of 2: threshold-made"
    assert both.algorithm.version == "73fc448d599b+73fc448d599b"
    assert both != made_by
