"""The command: composes `conf/` and runs the task. Nothing heavy is imported before a task needs it."""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import get_method
from omegaconf import DictConfig

from kidney_lab.composition.arguments import prepare_arguments
from kidney_lab.composition.job_sweeper import register_sweeper
from kidney_lab.composition.messages import USER_ERRORS, describe, is_fault
from kidney_lab.composition.resolvers import register_resolvers
from kidney_lab.composition.search_path import config_folder, register_experiments
from kidney_lab.composition.table import refuse_named_so, refuse_whole_table
from kidney_lab.errors import BatchError, InputError, JobError
from kidney_lab.files import DISK_FULL
from kidney_lab.tasks.sweep_job import run_job


@hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="config")
def run_task(config: DictConfig) -> object:
    """Runs the task that the configuration names.

    In a sweep an error ends one job, is told in its folder, and left to the sweeper.
    """
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return run_job(config, _run)
    try:
        return _run(config)
    except USER_ERRORS as error:
        folder = Path(HydraConfig.get().runtime.output_dir)
        if folder != Path.cwd():
            with suppress(OSError):  # it holds something, or another process of torchrun has removed it
                folder.rmdir()  # Hydra made it before anything was checked
        _refuse(error)
    except BatchError as error:
        _end(error)


def _run(config: DictConfig) -> object:
    refuse_named_so(config)
    refuse_whole_table(config)
    if config.sweep.resume and HydraConfig.get().mode != RunMode.MULTIRUN:
        raise InputError("sweep.resume=true goes on with a sweep: add -m, or go on with a run by resume=<its folder>.")
    return get_method(config.task._target_)(config)


def _refuse(error: Exception) -> NoReturn:
    if is_fault(error):
        raise error
    print(f"kidney_lab: {describe(error, sys.argv[1:])}", file=sys.stderr)
    sys.exit(2)


def _end(error: BatchError | JobError) -> NoReturn:
    print(f"kidney_lab: {error}", file=sys.stderr)
    sys.exit(1)


def main() -> None:
    """Entry of `python -m kidney_lab` and of the `kidney-lab` script.

    Exit codes: 0 done, 2 the input or the configuration is wrong (one message, no traceback), 1 anything else, also
    where some cases of a batch failed (a list of them, no traceback).
    """
    register_resolvers()
    register_experiments()
    register_sweeper()
    # Hydra prints and swallows exceptions unless told not to; the sentence and the exit code are ours to choose.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # As Ctrl-C: what is running is recorded as interrupted, and told how to go on with.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.argv[1:] = prepare_arguments(sys.argv[1:])
        run_task()
    except USER_ERRORS as error:
        _refuse(error)
    except (BatchError, JobError) as error:
        _end(error)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        print(
            f"kidney_lab: the disk is full ({error}): free some space and run the same command again", file=sys.stderr
        )
        sys.exit(2)
    except KeyboardInterrupt as error:
        usual = "interrupted; the same command goes on with it, a training by resume=<its run folder>"
        print(f"kidney_lab: {error if error.args else usual}", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
