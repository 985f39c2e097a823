import pytest

from kidney_lab.reporting.runs import read_runs

SCORE = {"c1": {("tumor", "dice"): 0.5}}


@pytest.fixture
def row(write_row):
    """Writes a run of a row, under the name that every run of its method gives itself."""

    def write(folder, name, seed, *, table="paper/t1", **record):
        overrides = [f"+experiments={table}", f"seed={seed}"]
        return write_row(folder, name, SCORE, table=table, seed=seed, overrides=overrides, **record)

    return write


def names(paths):
    return [run.name for run in read_runs(paths)[0]]


def test_runs_of_a_table_are_named_by_row_and_seed(row):
    runs = [row(f"{k}", name, seed) for k, (name, seed) in enumerate([("PM", 0), ("PM", 1), ("V-Net", 0)])]

    assert names(runs) == ["PM, seed 0", "PM, seed 1", "V-Net"]


def test_runs_of_two_tables_are_named_by_these_too(row):
    assert names([row("a", "PM", 0), row("b", "PM", 0, table="paper/t2")]) == ["paper/t1: PM", "paper/t2: PM"]
    assert names([row("c", "PM", 0), row("d", "PM", 0, table="other/t1")]) == ["paper: PM", "other: PM"]


def test_validation_scores_keep_their_mark(row):
    data = {"name": "kits19", "split_hash": "a", "scored": "validation"}
    paths = [row("a", "A", 0, data=data), row("b", "A", 1, data=data), row("c", "B", 0)]

    assert names(paths) == ["A, seed 0 (validation)", "A, seed 1 (validation)", "B"]


def test_repetitions_are_told_apart_by_the_end_of_their_paths(row):
    assert names([row("x/0", "PM", 0), row("y/0", "PM", 0)]) == ["PM (x/0)", "PM (y/0)"]


def test_runs_with_names_of_their_own_keep_them(row, make_run):
    assert names([row("a", "PM", 0), make_run("b", name="other")]) == ["unet3d-kits19", "other"]


def test_long_overrides_give_way_to_the_end_of_the_path(make_run):
    long = [f"model.stages.segmentation.module.network.{name}=false" for name in "ab"]
    paths = [make_run(f"s/{k}", overrides=long[:k]) for k in range(2)]
    assert names([*paths, make_run("s/2", overrides=long)]) == [
        "unet3d-kits19 (0)",
        "unet3d-kits19 (1)",
        "unet3d-kits19 (2)",
    ]
