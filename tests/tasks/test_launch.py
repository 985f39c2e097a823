import json
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from kidney_lab.errors import InputError
from kidney_lab.process_group import from_first, of_all, wait_for_all
from kidney_lab.tasks.launch import GRACE_S, launch
from kidney_lab.tasks.ranks import machine_first

TWO = OmegaConf.create({"accelerator": "cpu", "devices": 2, "num_nodes": 1})


def share(folder):
    """What two processes that wait for each other see."""
    rank = int(os.environ["RANK"])
    with machine_first():
        prepared = (folder / "prepared").exists()
        (folder / "prepared").touch()
    names = [name for name in os.environ if name.startswith(("MASTER_", "GROUP_", "LOCAL_", "WORLD_"))]
    seen = {
        "prepared": prepared,
        "ranks": of_all(rank),
        "first": from_first(partial(str, rank)),
        "place": sorted(names),
        "pid": os.getpid(),
    }
    (folder / f"{rank}.json").write_text(json.dumps(seen))


def fail(folder):
    """The second process fails while the first waits for it; an error is there that a process has torn, ended early."""
    (folder / f"{os.environ['RANK']}.pid").write_text(str(os.getpid()))
    if os.environ["RANK"] == "1":
        for errors in Path(tempfile.gettempdir()).glob("*/"):
            (errors / ".0.0.error").touch()
        raise InputError("data.root=x is wrong: mend it.")
    wait_for_all()


def wait_for_ever(folder):
    (folder / f"{os.environ['RANK']}.pid").write_text(str(os.getpid()))
    if os.environ["RANK"] == "1":
        wait_for_all()
    time.sleep(600)


def end_soon(folder, number, to):
    """Sends a signal to a process as soon as both are there: `to` gives its id."""

    def run():
        while not all((folder / f"{rank}.pid").is_file() for rank in range(2)):
            time.sleep(0.05)
        time.sleep(0.5)
        os.kill(to(), number)

    threading.Thread(target=run, daemon=True).start()


def test_two_processes_know_each_other_and_nobody_else_does(tmp_path):
    before = dict(os.environ)
    launch(share, tmp_path, trainer=TWO, log=tmp_path / "run.log")
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))

    assert (first["prepared"], second["prepared"]) == (False, True)
    assert first["ranks"] == second["ranks"] == [0, 1]
    assert first["first"] == second["first"] == "0"
    assert "WORLD_SIZE" in first["place"]
    assert os.getpid() not in (first["pid"], second["pid"])
    assert dict(os.environ) == before
    assert (tmp_path / "run.log").is_file()


def test_one_process_is_the_job_s_own(tmp_path):
    found = []
    launch(found.append, tmp_path, trainer=OmegaConf.merge(TWO, {"devices": 1}), log=tmp_path / "run.log")

    assert found == [tmp_path]


def test_a_process_that_fails_ends_the_others_and_the_job_has_its_error(tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)  # it is looked up once
    with pytest.raises(InputError, match=r"data\.root=x is wrong") as caught:
        launch(fail, tmp_path, trainer=TWO, log=tmp_path / "run.log")

    assert "In process 1:\nTraceback" in caught.value.__notes__[0]
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_others(tmp_path):
    end_soon(tmp_path, signal.SIGKILL, lambda: int((tmp_path / "1.pid").read_text()))
    with pytest.raises(RuntimeError, match=r"One of the 2 processes of the training is gone .*SIGKILL.* out of memory"):
        launch(wait_for_ever, tmp_path, trainer=TWO, log=tmp_path / "run.log")

    assert not multiprocessing.active_children()


@pytest.fixture
def interruptible():
    """A shell lets what it starts in the background ignore Ctrl-C, and that is handed on."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("to", ["the job", "a process"])
def test_an_interruption_of_any_ends_all(tmp_path, to):
    end_soon(tmp_path, signal.SIGINT, os.getpid if to == "the job" else lambda: int((tmp_path / "0.pid").read_text()))
    with pytest.raises(KeyboardInterrupt):
        launch(wait_for_ever, tmp_path, trainer=TWO, log=tmp_path / "run.log")

    assert not multiprocessing.active_children()


def wait_in_two(folder):
    launch(wait_for_ever, folder, trainer=TWO, log=folder / "run.log")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="tells by /proc whether a process is there")
def test_no_process_outlives_a_job_that_is_killed(tmp_path):
    job = multiprocessing.get_context("spawn").Process(target=wait_in_two, args=(tmp_path,))
    job.start()
    end_soon(tmp_path, signal.SIGKILL, lambda: job.pid)
    job.join()
    pids = [int((tmp_path / f"{rank}.pid").read_text()) for rank in range(2)]
    deadline = time.monotonic() + 2 * GRACE_S
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.1)

    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


JOB = ["data=phantom", "trainer=smoke", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.strategy=ddp"]


@pytest.fixture(scope="module")
def alone(command, tmp_path_factory):
    """Folder of a training with two processes; its working folder holds the phantom under `data`."""
    folder = tmp_path_factory.mktemp("alone")
    command(*JOB, "seed=1", "hydra.run.dir=run", cwd=folder)
    return folder / "run"


def weights(run):
    return torch.load(run / "stages" / "segmentation" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "joblib", "submitit_local"])
def test_the_jobs_of_a_sweep_train_with_two_processes_each_as_they_would_alone(alone, command, launcher):
    cwd, sweep = alone.parent, f"sweep {launcher}"
    jobs = ["-m", "seed=0,1"] if launcher == "basic" else ["-m", "seed=1"]  # seconds are dear
    command(*JOB, *jobs, f"hydra/launcher={launcher}", f"hydra.sweep.dir={sweep}", cwd=cwd)
    records = {path.parent: json.loads(path.read_text()) for path in (cwd / sweep).glob("*/run.json")}
    job = next(folder for folder, record in records.items() if record["seed"] == 1)

    assert sorted(record["seed"] for record in records.values()) == ([0, 1] if launcher == "basic" else [1])
    assert {record["status"] for record in records.values()} == {"finished"}
    assert {record["stages"]["segmentation"]["steps"] for record in records.values()} == {2}  # alone it would be 4
    assert records[job]["processes"] == 2
    assert all(torch.equal(value, weights(job)[name]) for name, value in weights(alone).items())
    assert (job / "metrics.csv").read_bytes() == (alone / "metrics.csv").read_bytes()
    pd.testing.assert_frame_equal(pd.read_csv(job / "epochs.csv"), pd.read_csv(alone / "epochs.csv"))
