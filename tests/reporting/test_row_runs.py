import pytest

from kidney_lab.reporting.measured import measured_rows
from kidney_lab.reporting.row_runs import choose_runs, code_notes
from kidney_lab.reporting.runs import read_run, read_runs
from tests.reporting.published_tables import published_sections

TUMOR = {"c1": {("tumor", "dice"): 0.5}}


def test_a_copy_of_a_training_is_no_second_seed(write_row):
    record = {"config_hash": "h", "overrides": ["model=x"]}
    paths = [
        write_row("seed0", "PM", TUMOR, table="p/t", seed=0, started="2025-01-01T00:00:00+00:00", **record),
        write_row("copy", "PM", TUMOR, table="p/t", seed=0, started="2025-01-02T00:00:00+00:00", **record),
        write_row("seed1", "PM", TUMOR, table="p/t", seed=1, **record),
        write_row("twin", "PM (twin)", TUMOR, table="p/t", seed=0, **record),
    ]
    runs, _ = read_runs(paths)
    chosen, notes = choose_runs(runs)

    assert [run.path.name for run in chosen] == ["copy", "seed1", "twin"]
    assert notes == [
        f"Not counted in the means of rows: {runs[0].name} is the same training, with the same seed, as "
        f"{runs[1].name}, which began last."
    ]
    assert [len(row.runs) for row in measured_rows(runs)["p/t"]] == [2, 1]


def test_runs_of_which_the_configuration_or_the_seed_is_not_known_all_count(write_row):
    paths = [write_row(name, "PM", TUMOR, table="p/t", seed=0) for name in "ab"]
    paths += [write_row(name, "PM", TUMOR, table="p/t", config_hash="h", seed=None) for name in "cd"]
    paths += [write_row(name, "PM", TUMOR, table="p/t", config_hash="h", seed=1, predictions=name) for name in "ef"]

    chosen, notes = choose_runs(read_runs(paths)[0])
    assert (len(chosen), notes) == (6, [])


@pytest.mark.parametrize("status", ["failed", "running", "interrupted"])
def test_what_has_not_finished_is_in_no_mean_and_is_named(write_row, tmp_path, status):
    runs = [
        read_run(write_row("done", "PM", TUMOR, table="p/t", seed=0)),
        read_run(write_row("other", "PM", TUMOR, table="p/t", seed=1, status=status, name="broken")),
    ]
    (row,) = measured_rows(runs)["p/t"]
    assert row.runs == [runs[0]]

    (section,) = published_sections(runs, tmp_path)
    told = f"Not counted in the means of rows, since its training has not finished ({status}): broken."
    assert section.notes == [told]


@pytest.mark.parametrize(
    "override",
    [
        *("prepare.workers=2", "trainer.devices=2", "logger=wandb", "data.num_workers=0", "++hydra.verbose=true"),
        *("~logger", "callbacks.slices.n_slices=1", "prepare.root=x", "seed=3", "trust=[a]", "trainer.profiler=simple"),
        *("+experiment.compare.A=B", "data.test_root=x", "inference.memory_gib=4"),
    ],
)
def test_an_override_of_how_a_job_runs_splits_no_row(write_row, override):
    paths = [
        write_row(str(k), "PM", TUMOR, table="p/t", seed=k, overrides=["model=x", *own])
        for k, own in enumerate([[], [override]])
    ]
    (row,) = measured_rows(read_runs(paths)[0])["p/t"]
    assert (row.title, len(row.runs)) == ("PM", 2)


@pytest.mark.parametrize(
    "override",
    [
        *("trainer=smoke", "trainer.max_epochs=3", "callbacks.early_stopping=null", "view=slices", "view.neighbours=2"),
        "inference.mirror_axes=[1]",
    ],
)
def test_an_override_of_what_is_learned_splits_a_row(write_row, override):
    paths = [
        write_row(str(k), "PM", TUMOR, table="p/t", seed=k, overrides=["model=x", *own])
        for k, own in enumerate([[], [override]])
    ]
    assert len(measured_rows(read_runs(paths)[0])["p/t"]) == 2


def test_rows_of_unlike_code_say_so(write_row, tmp_path):
    commits = ["a" * 40, "a" * 40, "b" * 40]
    runs = [
        read_run(write_row(str(k), f"row {k}", TUMOR, table="p/t", commit=commit, dirty=k == 2))
        for k, commit in enumerate(commits)
    ]
    assert code_notes(runs) == [
        "The runs are of 2 commits, so that the code may be what rows differ by: aaaaaaaaaaaa (2 runs), "
        "bbbbbbbbbbbb (1 run).",
        "1 of 3 runs had uncommitted changes, so that no commit says the code.",
    ]
    assert code_notes(runs[:2]) == []
    (section,) = published_sections(runs, tmp_path)
    assert section.notes == code_notes(runs)
