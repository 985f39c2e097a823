import gc
import json
import pickle
import threading
import time
import weakref

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from omegaconf import open_dict

from kidney_lab.composition.arguments import prepare_arguments
from kidney_lab.composition.config_hash import job_key
from kidney_lab.composition.messages import to_plain
from kidney_lab.composition.resolvers import register_resolvers
from kidney_lab.composition.search_path import config_folder
from kidney_lab.errors import BatchError, InputError, JobError
from kidney_lab.files import alone
from kidney_lab.tasks.run_folder import RunFolder
from kidney_lab.tasks.sweep_job import run_job


@pytest.fixture(scope="module")
def whole():
    register_resolvers()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return compose("config", overrides=["trainer=smoke", "seed=3", "hydra.mode=MULTIRUN"], return_hydra_config=True)


@pytest.fixture
def config(whole, tmp_path):
    """Configuration of a job in the folder `s/4`."""
    config = whole.copy()
    folder = tmp_path / "s" / "4"
    folder.mkdir(parents=True)
    with open_dict(config):
        config.hydra.runtime.output_dir = str(folder)
        config.hydra.sweep.dir = str(tmp_path / "s")
        config.hydra.job.num = 4
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]
    return config


@pytest.fixture
def record(config, tmp_path):
    """Reads the record of the job."""
    return lambda: json.loads((tmp_path / "s" / "4" / "run.json").read_text())


def fails(error):
    def task(config):
        raise error

    return task


def test_a_job_is_recorded_before_anything_can_go_wrong(config, record):
    seen = []

    def task(config):
        seen.append(record())
        return 0.25

    assert run_job(config, task) == 0.25
    (during,) = seen
    assert (during["status"], during["stages"], during["seed"]) == ("running", {}, 3)
    assert during["job"]["key"] == job_key(to_plain(config))
    assert {"overrides", "paths", "commit", "versions", "process", "started"} <= during.keys()
    assert record()["status"] == "finished"


WHAT_FAILS = {
    "input": (InputError("a=1 is\n  - wrong"), InputError, "a=1 is - wrong", 2),
    "some cases": (BatchError("two cases failed"), BatchError, "two cases failed", 1),
    "a fault": (ZeroDivisionError("of x"), JobError, "ZeroDivisionError: of x", 1),
    "a setting": (InstantiationException("no such\nclass"), InputError, "no such class", 2),
}


@pytest.mark.parametrize(("error", "kind", "sentence", "exit_code"), WHAT_FAILS.values(), ids=WHAT_FAILS)
def test_what_fails_is_told_in_a_line_and_can_go_to_another_process(error, kind, sentence, exit_code, config, record):
    with pytest.raises(kind) as told:
        run_job(config, fails(error))

    assert type(pickle.loads(pickle.dumps(told.value))) is kind
    assert told.value.__cause__ is None
    assert told.value.__context__ is None
    written = record()
    assert (written["status"], written["error"], written["job"]["exit_code"]) == ("failed", sentence, exit_code)


def test_nothing_of_a_job_that_failed_stays_in_memory(config):
    class Weights:
        pass

    alive = []

    def task(config):
        weights = Weights()
        alive.append(weakref.ref(weights))
        raise ValueError("of it")

    with pytest.raises(JobError) as told:
        run_job(config, task)

    gc.collect()
    assert told.value is not None
    assert alive[0]() is None


def test_what_ends_a_training_is_logged_once(config, tmp_path, record):
    def train(config):
        run = RunFolder.open(config)
        with run.recording(config):
            run.record["stages"]["coarse"] = {"key": "abc"}
            run.update()
            raise ValueError("at the last step")

    with pytest.raises(JobError):
        run_job(config, train)

    assert (tmp_path / "s" / "4" / "run.log").read_text().count("Traceback") == 1
    written = record()
    assert (written["status"], written["stages"]) == ("failed", {"coarse": {"key": "abc"}})
    assert written["error"] == "ValueError: at the last step"
    assert {"job", "wall_time_s", "finished"} <= written.keys()


def test_a_training_that_failed_goes_on_where_the_sweep_names_it(config, tmp_path, record):
    def train(config):
        run = RunFolder.open(config)
        with run.recording(config):
            if config.resume is None:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(config, train)
    assert (record()["status"], record()["job"]["exit_code"]) == ("interrupted", 130)
    with pytest.raises(InputError, match=r"s/4 holds a job already: go on with its sweep by sweep\.resume=true and"):
        run_job(config, train)
    first = record()

    config.sweep.job = first["job"]["key"]
    run_job(config, train)

    assert config.resume == str(tmp_path / "s" / "4")
    again = record()
    assert again["status"] == "finished"
    assert len(again["resumed"]) == 1
    assert again["started"] == first["started"]
    assert again["job"]["seconds"] >= first["job"]["seconds"]


def begun(tmp_path, **values):
    """A record that another command has left."""
    process = {"host": "another machine", "pid": 1}
    content = {"status": "running", "process": process, "stages": {}, "job": {"key": "a-1"}, **values}
    (tmp_path / "s" / "4" / "run.json").write_text(json.dumps(content))
    return content


@pytest.mark.parametrize("status", ["running", "finished"])
def test_a_job_that_another_command_has_begun_is_left_to_it(status, config, tmp_path, record, capsys):
    before = begun(tmp_path, status=status)
    config.sweep.job = "a-1"

    assert run_job(config, fails(AssertionError("run twice"))) is None

    assert record() == before
    assert f"s/4 is left alone: another command has begun it ({status})" in capsys.readouterr().err


def test_a_job_waits_for_another_command_that_is_just_beginning_it(config, tmp_path):
    config.sweep.job = "a-1"
    entered = threading.Event()

    def other_command():
        with alone(tmp_path / "s" / "4"):
            entered.set()
            time.sleep(0.2)
            begun(tmp_path)

    other = threading.Thread(target=other_command)
    other.start()
    entered.wait()

    assert run_job(config, fails(AssertionError("run twice"))) is None
    other.join()


def test_a_job_whose_folder_became_another_one_s_writes_nothing(config, tmp_path, record):
    before = begun(tmp_path, status="waiting", before="not started", sweep="..")
    config.sweep.job = "b-1"

    with pytest.raises(InputError, match="s/4 belongs to another job by now: two commands were started in one hydra"):
        run_job(config, fails(AssertionError("run twice")))

    assert record() == before


def test_a_job_that_slurm_sends_again_goes_on_at_once(config, tmp_path, record, monkeypatch):
    begun(tmp_path, job={"key": "a-1", "slurm": "77"})
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    config.sweep.job = "a-1"

    assert run_job(config, lambda config: 0.5) == 0.5
    assert record()["status"] == "finished"


def test_a_job_that_failed_early_can_be_gone_on_with_alone(config, tmp_path):
    with pytest.raises(InputError):
        run_job(config, fails(InputError("no data")))

    arguments = prepare_arguments([f"resume={tmp_path / 's' / '4'}"])

    assert f"hydra.run.dir='{tmp_path / 's' / '4'}'" in arguments
    assert not any(argument.startswith("sweep.") for argument in arguments)
