"""A job of a sweep: `run.json` in its folder says how it stands from its first moment to its last."""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from kidney_lab.composition.config_hash import job_key
from kidney_lab.composition.messages import USER_ERRORS, describe, is_fault, to_plain
from kidney_lab.composition.sweep_folders import JobFolder
from kidney_lab.errors import BatchError, InputError, JobError
from kidney_lab.files import alone, write_text
from kidney_lab.heartbeat import beating, this_process
from kidney_lab.memory import forget_peaks
from kidney_lab.tasks.provenance import provenance, utc_now

_RECORD: Final = "run.json"
_LOG: Final = "run.log"


def run_job(config: DictConfig, task: Callable[[DictConfig], Any]) -> Any:
    """Runs a task as a job of a sweep, in the folder that Hydra gave it.

    Args:
        config: of the job.
        task: what is run.

    Returns:
        What the task returns; None where the job is left to another command.

    Raises:
        InputError: the job's input is wrong, or its folder holds another job.
        BatchError: some of the cases of its task could not be done.
        JobError: anything else failed. All three are told anew without what they came from: a launcher hands them to
            another process, and nothing of a job that failed stays in memory while the next one runs.
    """
    job = SweepJob.open(config)
    if job is None:
        return None
    forget_peaks()
    with beating(job.file):
        try:
            job.identify(config)
            value = task(config)
        except Exception as error:
            failure = job.fail(error)
        except BaseException:
            job.end("interrupted", exit_code=130)
            raise
        else:
            job.end("finished", exit_code=0)
            return value
    raise failure


@dataclass
class SweepJob:
    """The record of a job, which a training adds to (`kidney_lab.tasks.run_folder`).

    Args:
        path: folder of the job.
        started: when, on the clock of `time.monotonic`.
        before_s: seconds that it ran before it was gone on with.
    """

    path: Path
    started: float = field(default_factory=time.monotonic)
    before_s: float = 0.0

    @classmethod
    def open(cls, config: DictConfig) -> "SweepJob | None":
        """Begins a job, or goes on with the one that the sweep names.

        Args:
            config: of the job; `resume` is set in it where a training goes on.

        Returns:
            None where another command has finished the job since the sweep named it, or runs it now.

        Raises:
            InputError: the folder holds another job than the sweep has named. Nothing is written then.
        """
        job = cls(Path(HydraConfig.get().runtime.output_dir))
        with alone(job.path):
            return job if job.begin(config) else None

    def begin(self, config: DictConfig) -> bool:
        """Makes the folder this process's, unless it is that of another one or finished; see `open`."""
        record: dict[str, Any] = {"stages": {}, "started": utc_now(), "resumed": []}
        if self.file.is_file():
            if config.sweep.job is None:
                raise InputError(
                    f"{self.path} holds a job already: go on with its sweep by sweep.resume=true and "
                    "hydra.sweep.dir=<the sweep's folder>, or choose another folder."
                )
            record |= self.read()
            if _is_left_alone(JobFolder(self.path, record), config.sweep.job):
                return False
            if (self.path / "config.yaml").is_file():  # a training had begun; a cluster may have sent it again itself
                config.resume = str(self.path)
            self.before_s = float(record.get("job", {}).get("seconds", 0.0))
        for key in ("error", "finished", "before", "sweep"):  # of the last time, or of waiting
            record.pop(key, None)
        record |= {"status": "running", "process": this_process(), "overrides": _overrides(), "paths": {}}
        about = {"key": config.sweep.job, "row": config.experiment.row, "seconds": self.before_s, "slurm": _slurm()}
        self.write(record | {"job": about})
        return True

    @property
    def file(self) -> Path:
        """The record."""
        return self.path / _RECORD

    def read(self) -> dict[str, Any]:
        """The record as it lies on disk: a training writes it too."""
        record: dict[str, Any] = json.loads(self.file.read_text(encoding="utf-8"))
        return record

    def write(self, record: dict[str, Any]) -> None:
        """Replaces the record."""
        write_text(self.file, json.dumps(record, indent=2) + "\n")

    def identify(self, config: DictConfig) -> None:
        """Adds what the job is made with, and its key where the sweep has not given it."""
        record = self.read()
        record["job"]["key"] = record["job"]["key"] or job_key(to_plain(config))
        self.write(record | provenance(config, _overrides()))

    def end(self, status: str, *, exit_code: int, **values: Any) -> None:
        """Adds how the job has ended.

        Args:
            status: finished, failed or interrupted.
            exit_code: that the task would end with outside of a sweep.
            values: further ones.
        """
        record = self.read()
        seconds = round(self.before_s + time.monotonic() - self.started, 1)
        job = {**record["job"], "seconds": seconds, "exit_code": exit_code}
        self.write({"finished": utc_now(), **record, "status": status, "job": job, **values})

    def fail(self, error: Exception) -> Exception:
        """Adds that the job has failed, with the traceback in its log.

        Returns:
            The error as others are told of it.
        """
        logged = self.read()["status"] == "failed"  # a training that had begun logs what ends it
        told = _told(error)
        exit_code = 2 if isinstance(told, InputError) else 1
        if not logged:
            self._log(str(told) if exit_code == 2 else "".join(traceback.format_exception(error)))
        self.end("failed", exit_code=exit_code, error=" ".join(str(told).split()))
        print(f"kidney_lab: {self.path} failed, see {_LOG} there: {told}", file=sys.stderr)
        return told

    def _log(self, text: str) -> None:
        with (self.path / _LOG).open("a", encoding="utf-8") as log:
            log.write(f"{utc_now()} ERROR {text.rstrip()}\n")


def _is_left_alone(found: JobFolder, key: str) -> bool:
    """Whether there is nothing left to do for a job that a sweep has named.

    Raises:
        InputError: the folder has become that of another job.
    """
    if found.key != key:
        raise InputError(
            f"{found.path} belongs to another job by now: two commands were started in one hydra.sweep.dir; go on "
            "with this one by sweep.resume=true when the other has ended."
        )
    here, there = this_process(), found.record["process"]
    elsewhere = found.status == "running" and there != here
    if elsewhere and there["host"] != here["host"] and _slurm() is not None:  # sent again, before it is taken as gone?
        elsewhere = found.record.get("job", {}).get("slurm") != _slurm()
    if not elsewhere and found.status != "finished":
        return False
    print(f"kidney_lab: {found.path} is left alone: another command has begun it ({found.status})", file=sys.stderr)
    return True


def _slurm() -> str | None:
    """SLURM's number of this job: a job that it sends again after its time limit keeps it, on whichever machine."""
    return os.environ.get("SLURM_JOB_ID")


def _overrides() -> list[str]:
    return [str(item) for item in HydraConfig.get().overrides.task]


def _told(error: Exception) -> Exception:
    """An error with its message alone."""
    if isinstance(error, BatchError):
        return BatchError(str(error))
    if isinstance(error, USER_ERRORS) and not is_fault(error):
        return InputError(describe(error, _overrides()))
    return JobError(f"{type(error).__name__}: {error}")
