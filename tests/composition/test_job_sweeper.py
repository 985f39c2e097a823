import csv
import errno
import json
import os
import re
import sys
import time
from pathlib import Path

import hydra
import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from kidney_lab.__main__ import main
from kidney_lab.composition.sweep_end import tell_unfinished
from kidney_lab.composition.sweep_folders import JobFolder
from kidney_lab.errors import BatchError, InputError
from kidney_lab.files import write_text
from kidney_lab.tasks.sweep_job import run_job

# As much of the configuration as a sweep knows of: composing the whole of it takes most of a test's time.
CONFIG = """\
defaults:
  - model: small
  - data: phantom
  - _self_
  - override hydra/sweeper: kidney_lab
  - override hydra/job_logging: none
  - override hydra/hydra_logging: none
seed: 0
init: null
resume: null
sweep: {resume: false, job: null}
experiment: {table: null, row: null}
prepare: {root: stores}
hydra:
  output_subdir: null
  sweep:
    dir: runs/multirun/${now:%Y-%m-%d_%H-%M-%S-%f}
    subdir: ${hydra:job.num}
  job: {config: {override_dirname: {exclude_keys: [resume, sweep.job, sweep.resume]}}}
"""
DATA = "{root: here, test_root: null, split: auto}"

CALLS = []
FAILURES = {}


def toy(config):
    """A task that fails as it is told to, by its seed."""
    CALLS.append((config.seed, config.resume))
    (Path(HydraConfig.get().runtime.output_dir) / "work.txt").write_text(f"seed {config.seed}")
    if config.seed in FAILURES:
        raise FAILURES[config.seed]
    return 10.0 - config.seed


@pytest.fixture(scope="module")
def conf(tmp_path_factory):
    root = tmp_path_factory.mktemp("conf")
    target = "_target_: hydra_plugins.kidney_lab.JobSweeper"
    files = {"config": CONFIG, "model/small": "levels: 2", "data/phantom": DATA, "hydra/sweeper/kidney_lab": target}
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / f"{name}.yaml").write_text(text)
    return str(root)


@pytest.fixture
def sweep(conf, tmp_path, monkeypatch, capsys):
    """Runs a sweep in this process: returns its exit code, and what it wrote to standard output and error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # which would let Hydra print tracebacks
    monkeypatch.setenv("COLUMNS", "200")
    command = hydra.main(version_base="1.3", config_path=conf, config_name="config")(
        lambda config: run_job(config, toy)
    )
    monkeypatch.setattr("kidney_lab.__main__.run_task", command)

    def run(*arguments, folder="s"):
        CALLS.clear()
        where = [f"hydra.sweep.dir={folder}"] if folder else []
        monkeypatch.setattr(sys, "argv", ["kidney_lab", "-m", *where, *arguments])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    yield run
    FAILURES.clear()


def record(number, folder="s"):
    return json.loads(Path(folder, str(number), "run.json").read_text())


def table(folder="s"):
    with Path(folder, "sweep.csv").open() as file:
        return list(csv.DictReader(file))


def test_every_job_is_run_and_told_of_whatever_became_of_those_before(sweep):
    FAILURES.update({0: ValueError("a fault\nin two lines"), 1: InputError("seed=1 is odd: take 2.")})

    code, out, err = sweep("seed=0,1,2")

    assert code == 1
    assert [(row["job"], row["overrides"], row["status"], row["folder"], row["error"]) for row in table()] == [
        ("0", "seed=0", "failed", "s/0", "ValueError: a fault in two lines"),
        ("1", "seed=1", "failed", "s/1", "seed=1 is odd: take 2."),
        ("2", "seed=2", "finished", "s/2", ""),
    ]
    assert all(float(row["seconds"]) < 60 for row in table())
    assert re.search(r"1 +seed=1 +failed +[\d.]+ +seed=1 is odd", out)
    assert "sweep  s: 3 jobs, 2 failed, 1 finished" in out
    assert "2 of 3 jobs failed: 0, 1 (see run.log in their folders, and s/sweep.csv)" in err
    assert "sweep.resume=true hydra.sweep.dir=s goes on" in err
    assert "Traceback" not in err
    assert "in toy\n    raise FAILURES[config.seed]" in Path("s/0/run.log").read_text()
    assert "Traceback" not in Path("s/1/run.log").read_text()


def test_a_sweep_whose_every_input_is_wrong_ends_as_such(sweep):
    FAILURES.update({0: InputError("no data"), 1: InputError("no data")})

    assert sweep("seed=0,1")[0] == 2
    assert [record(number)["job"]["exit_code"] for number in (0, 1)] == [2, 2]


def test_a_sweep_is_gone_on_with_by_what_its_jobs_are_and_not_by_their_numbers(sweep):
    FAILURES.update({1: ValueError("a fault")})
    sweep("seed=0,1,2")
    FAILURES.clear()
    before = [Path(f"s/{number}/run.json").read_bytes() for number in (0, 2)]

    code, out, _ = sweep("sweep.resume=true", "seed=5,2,1,0")

    assert code == 0
    assert CALLS == [(5, None), (1, None)]  # finished ones are left alone
    assert [Path(f"s/{number}/run.json").read_bytes() for number in (0, 2)] == before
    assert [(row["job"], row["overrides"], row["error"]) for row in table()] == [
        (str(number), f"seed={seed}", "") for number, seed in enumerate([0, 1, 2, 5])
    ]
    assert "4 jobs, 4 finished" in out
    assert record(1)["overrides"] == ["seed=1"]  # nothing of how it was started
    assert "error" not in record(1)
    assert sweep("sweep.resume=true", "seed=5,2,1,0")[0] == 0
    assert CALLS == []


def test_jobs_of_paths_alone_are_several_and_found_again_where_the_data_moved(sweep):
    sweep("data.root=a,b")
    assert [record(number)["paths"]["data.root"][-1] for number in (0, 1)] == ["a", "b"]
    keys = [record(number)["job"]["key"].split("-")[0] for number in (0, 1)]
    assert keys[0] == keys[1]

    sweep("sweep.resume=true", "data.root=b,a")
    assert CALLS == []
    sweep("sweep.resume=true", "data.root=c")  # which of the two was moved?
    assert CALLS == [(0, None)]

    sweep("data.root=a", folder="one")
    _, _, err = sweep("sweep.resume=true", "data.root=c", folder="one")
    assert CALLS == []
    here = Path.cwd()
    assert f"job 0 is taken as one whose data has moved: data.root from {here}/a to {here}/c" in err


def test_an_interrupted_sweep_says_how_it_stands_and_how_to_go_on(sweep):
    FAILURES.update({1: KeyboardInterrupt()})

    code, out, err = sweep("seed=0,1,2")

    assert code == 130
    assert [row["status"] for row in table()] == ["finished", "interrupted", "not started"]
    assert "3 jobs, 1 finished, 1 interrupted, 1 not started" in out
    assert err.endswith(
        "kidney_lab: interrupted; the same command with sweep.resume=true hydra.sweep.dir=s goes on with what is not "
        "finished.\n"
    )
    assert (record(2)["status"], record(2)["overrides"]) == ("waiting", ["seed=2"])
    FAILURES.clear()
    assert sweep("sweep.resume=true", "seed=0,1,2")[0] == 0
    assert CALLS == [(1, None), (2, None)]


def test_jobs_that_another_command_is_to_start_are_left_to_it_as_long_as_it_lives(sweep):
    FAILURES.update({0: KeyboardInterrupt()})
    sweep("seed=0,1")
    other = {"process": {"host": "another machine", "pid": 1}}
    Path("s/1/run.json").write_text(json.dumps(record(1) | other))
    FAILURES.clear()

    assert sweep("sweep.resume=true", "seed=0,1")[0] == 0
    assert CALLS == [(0, None)]
    assert [row["status"] for row in table()] == ["finished", "waiting"]

    os.utime("s/multirun.yaml", (0, 0))
    assert sweep("sweep.resume=true", "seed=0,1")[0] == 0
    assert CALLS == [(1, None)]


def test_a_job_that_can_write_nothing_is_told_and_ends_the_sweep_as_failed(sweep, monkeypatch):
    def full(path, text):
        if path.parent.name == "1":
            raise OSError(errno.ENOSPC, "No space left on device")
        write_text(path, text)

    monkeypatch.setattr("kidney_lab.tasks.sweep_job.write_text", full)

    code, _, err = sweep("seed=0,1,2")

    assert code == 1
    assert [(row["status"], row["error"]) for row in table()] == [
        ("finished", ""),
        ("failed", "OSError: [Errno 28] No space left on device"),
        ("finished", ""),
    ]
    assert "1 of 3 jobs failed: 1" in err


def test_a_sweep_with_jobs_that_did_not_end_is_no_success(tmp_path):
    (tmp_path / "1").mkdir()
    ended = [JobFolder(tmp_path / "0", {"status": "finished"}), JobFolder(tmp_path / "1", {"status": "interrupted"})]

    with pytest.raises(BatchError, match=r"2 of 3 jobs did not end: 1 \(interrupted\), not started \(see .*sweep\.csv"):
        tell_unfinished([*ended, None], tmp_path)


def test_two_jobs_do_not_share_a_folder(sweep):
    code, _, err = sweep("hydra.sweep.subdir=same", "seed=0,1")

    assert (code, CALLS) == (2, [])
    assert "hydra.sweep.subdir gives the folder same to two jobs, seed=0 and seed=1: leave it out" in err.replace(
        "hydra.sweep.subdir=same ", ""
    )
    assert not Path("s").exists()


def test_folders_of_jobs_may_lie_in_folders(sweep):
    assert sweep("hydra.sweep.subdir=a/${seed}", "seed=0,1")[0] == 0
    assert sweep("hydra.sweep.subdir=a/${seed}", "seed=0,1,2", "sweep.resume=true")[0] == 0

    assert CALLS == [(2, None)]
    assert [row["folder"] for row in table()] == ["s/a/0", "s/a/1", "s/a/2"]


def test_jobs_that_were_killed_are_begun_again_and_those_that_still_run_are_left_alone(sweep):
    sweep("seed=0,1,2")
    gone = {"host": record(0)["process"]["host"], "pid": 2**22 + 1}
    other = {"host": "another machine", "pid": 1}
    for number, process in enumerate([gone, other, other]):
        content = {**record(number), "status": "running", "process": process}
        Path(f"s/{number}/run.json").write_text(json.dumps(content))
    os.utime("s/1/run.json", (time.time() - 3600,) * 2)  # silent for an hour
    Path("s/0/config.yaml").write_text("seed: 0")  # a training has begun
    Path("s/3").mkdir()  # killed before it wrote anything
    Path("s/4").mkdir()
    Path("s/4/.0123.run.json").touch()

    code, out, _ = sweep("sweep.resume=true", "seed=0,1,2,3,4")

    assert code == 0
    assert [seed for seed, _ in CALLS] == [0, 1, 3, 4]
    assert [resume for _, resume in CALLS] == [str(Path("s/0").resolve()), None, None, None]
    assert [row["status"] for row in table()] == ["finished", "finished", "running", "finished", "finished"]
    assert "5 jobs, 4 finished, 1 running" in out


def test_a_job_whose_process_is_gone_is_told_so(sweep):
    sweep("seed=0")
    content = {**record(0), "status": "running", "process": {"host": "another machine", "pid": 1}}
    Path("s/0/run.json").write_text(json.dumps(content))
    os.utime("s/0/run.json", (0, 0))

    sweep("sweep.resume=true", "seed=1")

    assert (table()[0]["status"], table()[0]["error"]) == (
        "interrupted",
        "its process is gone: killed, or out of memory",
    )


def test_a_folder_of_another_sweep_is_not_written_to(sweep):
    sweep("seed=0,1")

    code, _, err = sweep("seed=2")

    assert code == 2
    assert "hydra.sweep.dir=s holds 2 jobs already: go on with them by sweep.resume=true, or choose another" in err
    assert CALLS == []


def test_a_sweep_to_go_on_with_must_be_named(sweep):
    code, _, err = sweep("seed=0", "sweep.resume=no")
    assert (code, CALLS) == (2, [])
    assert "sweep.resume=no must be true or false" in err

    code, _, err = sweep("seed=0", "sweep.resume=true", folder=None)
    assert (code, CALLS) == (2, [])
    assert "sweep.resume=true finds no sweep in runs/multirun: leave it out to begin one" in err

    sweep("seed=0", folder="runs/multirun/old")
    sweep("seed=0", folder="runs/multirun/new")
    os.utime("runs/multirun/old/multirun.yaml", (0, 0))
    code, _, err = sweep("seed=0", "sweep.resume=true", folder=None)
    assert (code, CALLS) == (2, [])
    assert "add hydra.sweep.dir=runs/multirun/new, the newest in runs/multirun, or another" in err

    assert sweep("seed=0", "sweep.resume=true", folder="begun here")[0] == 0
    assert CALLS == [(0, None)]


def test_what_cannot_be_composed_stops_a_sweep_before_it_begins(sweep):
    code, _, err = sweep("sead=0,1")

    assert code == 2
    assert "kidney_lab: sead=0: sead is unknown (did you mean seed?)" in err
    assert not Path("s").exists()


def test_jobs_may_have_folders_of_other_names(sweep):
    named = "hydra.sweep.subdir=${hydra:job.override_dirname}"
    sweep(named, "seed=0,1")
    sweep(named, "sweep.resume=true", "seed=0,1,2")

    assert CALLS == [(2, None)]
    assert sorted(path.name for path in Path("s").glob("*/")) == [f"seed={seed}" for seed in range(3)]


def test_hydra_s_own_sweeper_writes_records_and_overwrites_none(sweep):
    assert sweep("hydra/sweeper=basic", "seed=0,1")[0] == 0
    before = record(0)
    assert (before["status"], len(before["job"]["key"])) == ("finished", 25)

    code, _, err = sweep("hydra/sweeper=basic", "seed=3")

    assert code == 2
    assert "s/0 holds a job already" in err
    assert record(0) == before


def test_optuna_searches_by_what_a_task_returns(sweep):
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    search = ["hydra.sweeper.n_trials=2", "hydra.sweeper.direction=maximize", "hydra.sweeper.sampler.seed=0"]

    assert sweep("hydra/sweeper=optuna", "seed=choice(1,4)", *search)[0] == 0

    seeds = [record(number)["seed"] for number in range(2)]
    best = OmegaConf.load("s/optimization_results.yaml")
    assert seeds == [seed for seed, _ in CALLS]
    assert (best.best_value, best.best_params.seed) == (10.0 - min(seeds), min(seeds))
