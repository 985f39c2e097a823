import json
from pathlib import Path

import numpy as np
import pytest

from kidney_lab.data.store import Store

SMOKE = ("task=prepare", "preset=smoke", "trainer=smoke")


def prepared(folder: Path) -> Store:
    (path,) = (folder / "data" / "stores").glob("phantom-*/")
    return Store(path)


def test_a_store_is_made_once_and_tells_what_its_cases_took(command, tmp_path):
    first = command(*SMOKE, cwd=tmp_path)
    store = prepared(tmp_path)
    made = {name: (store.path / name / "case.json").stat().st_mtime_ns for name in store.cases}
    second = command(*SMOKE, cwd=tmp_path)

    assert len(store.cases) == 6  # those of the test, too: another split or fold may train on them
    assert "segmentation: 6 cases in data/stores/phantom-" in first.stdout
    for name in store.cases:
        assert f"{name}: " in first.stdout
        assert f"{name}: " not in second.stdout
    assert "a case took" in second.stdout
    assert {name: (store.path / name / "case.json").stat().st_mtime_ns for name in store.cases} == made
    costs = (store.path / "costs.csv").read_text().splitlines()
    assert costs[0] == "case,seconds,peak_mib,slices,rows,columns"
    assert [line.split(",")[0] for line in costs[1:]] == store.cases


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "joblib", "submitit_local"])
def test_shards_on_several_machines_make_the_store_of_one_process(command, tmp_path, launcher):
    one, many = tmp_path / "one", tmp_path / "many"
    for folder in (one, many):
        folder.mkdir()
    command(*SMOKE, cwd=one)
    shards = ("shard=1/3,2/3,3/3", f"hydra/launcher={launcher}", f"data.root={one / 'data' / 'phantom-smoke'}")
    command("-m", *SMOKE, "prepare.workers=2", *shards, cwd=many)

    expected, store = prepared(one), prepared(many)
    assert store.cases == expected.cases
    for name in expected.cases:
        np.testing.assert_array_equal(store[name].image[...], expected[name].image[...])
        np.testing.assert_array_equal(store[name].label[...], expected[name].label[...])
        np.testing.assert_array_equal(store[name].foreground(1), expected[name].foreground(1))


def test_an_ensemble_of_finished_runs_prepares_nothing_and_says_what_to_do(command, tmp_path):
    result = command(*SMOKE, "model=transfer_ensemble", "model.member_runs=[a,b]", cwd=tmp_path, check=False)

    assert result.returncode == 2
    assert "(model.member_runs) has no stage to prepare cases for: leave out task=prepare and start" in result.stderr


def test_what_a_shard_left_undone_a_rerun_takes_up(command, tmp_path):
    command(*SMOKE, "shard=2/2", cwd=tmp_path)  # the other one died
    half = prepared(tmp_path).cases
    whole = command(*SMOKE, cwd=tmp_path)

    assert len(half) == 3
    assert len(prepared(tmp_path).cases) == 6
    assert not [name for name in half if f"{name}: " in whole.stdout]


def test_no_shard_and_no_store_of_another_format_is_one_sentence(command, tmp_path):
    wrong = command(*SMOKE, "shard=3/2", cwd=tmp_path, check=False)
    assert wrong.returncode == 2
    assert wrong.stderr.splitlines()[-1].startswith("kidney_lab: shard=3/2 is no shard: give k/n")

    command(*SMOKE, cwd=tmp_path)
    store = prepared(tmp_path).path
    (store / "store.json").write_text(json.dumps({"format": 1}))
    old = command(*SMOKE, cwd=tmp_path, check=False)
    rebuilt = command(*SMOKE, "prepare.rebuild=true", cwd=tmp_path)

    assert old.returncode == 2
    assert "is a store in format 1" in old.stderr
    assert "prepare.rebuild=true" in old.stderr
    assert "segmentation: 6 cases" in rebuilt.stdout
