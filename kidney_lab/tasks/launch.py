"""Starts the processes that share a training on one machine, as `torchrun` would, and ends all when one fails.

Lightning's own launcher repeats the command line, which in a sweep is the whole sweep, and kills the process that the
sweep runs in when another dies. These processes are told what to do instead, so that single runs, jobs of a sweep and
jobs in another program's workers (joblib, submitit) are started alike, and none of them is the job's own process.
"""

import os
import pickle
import signal
import sys
import tempfile
import time
import traceback
import uuid
from collections.abc import Callable, Iterable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import wandb
from omegaconf import DictConfig
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # public, though not listed for type checkers
from torch.multiprocessing.spawn import ProcessException, ProcessExitedException, start_processes

from kidney_lab.files import replacing
from kidney_lab.memory import cores
from kidney_lab.processes import end_with_parent, forget_loky
from kidney_lab.tasks.ranks import join_group, processes_here, under_torchrun

GRACE_S = 10.0
"""How long processes have to end by themselves, before they are killed."""

_HOST = "127.0.0.1"


def launch(function: Callable[..., None], *arguments: Any, trainer: DictConfig, log: Path) -> None:
    """Calls a function in as many processes as the trainer's devices mean, and waits for all.

    Where that is one, and where `torchrun` has started this process, it is called in this process.

    Args:
        function: of a module, so that a new process finds it.
        arguments: picklable.
        trainer: the resolved configuration of the trainer.
        log: file that the first of the new processes writes its log into.

    Raises:
        Exception: what the first process that failed has raised, with its traceback as a note; the others are ended.
        RuntimeError: a process was killed.
        KeyboardInterrupt: the user stopped the training; all have ended.
    """
    n = processes_here(trainer)
    if n == 1 or under_torchrun():
        function(*arguments)
        return
    forget_loky()
    store = TCPStore(_HOST, 0, is_master=True, wait_for_workers=False)  # it is here, so that no port is taken meanwhile
    shared = {
        "TORCHELASTIC_RUN_ID": uuid.uuid4().hex,
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0",
        "MASTER_ADDR": _HOST,
        "MASTER_PORT": str(store.port),
        "WORLD_SIZE": str(n),
        "LOCAL_WORLD_SIZE": str(n),
        "GROUP_RANK": "0",
    }
    with tempfile.TemporaryDirectory() as folder:
        work = pickle.dumps((function, arguments))  # to be read after the process knows its place
        group = start_processes(
            _serve, (shared, trainer, work, folder, log), nprocs=n, join=False, start_method="spawn"
        )
        try:
            while not group.join(grace_period=GRACE_S):
                pass
        except ProcessException as error:
            raise _cause(Path(folder), error, n) from error
        finally:
            _end(group.processes)


def _serve(rank: int, shared: dict[str, str], trainer: DictConfig, work: bytes, folder: str, log: Path) -> None:
    """What a process does; an error is left in the folder, since only its text would reach the job."""
    end_with_parent(after_s=GRACE_S)
    os.environ.update(shared, RANK=str(rank), LOCAL_RANK=str(rank))
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, cores() // int(shared["WORLD_SIZE"])))
    try:
        # Not before the place is known: Lightning looks for it when it is imported.
        from kidney_lab.tasks.run_folder import log_file

        join_group(trainer)
        function, arguments = pickle.loads(work)
        with log_file(log):
            function(*arguments)
        _leave_wandb(0)
    except (Exception, KeyboardInterrupt) as error:
        _leave_wandb(1)
        with replacing(Path(folder) / f"{time.time_ns()}.error") as temporary:
            temporary.write_bytes(_pickled(error, rank))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)  # at once: the group would be closed together with the others, who may wait for this process


def _leave_wandb(exit_code: int) -> None:
    """Ends the run that the stages have logged into: the job goes on with it, and one process at a time may hold it."""
    if wandb.run is not None:
        wandb.run.finish(exit_code=exit_code)


def _pickled(error: BaseException, rank: int) -> bytes:
    """An error with its traceback as a note; one that cannot travel is told by its text."""
    note = f"In process {rank}:\n{traceback.format_exc()}"
    error.add_note(note)
    try:
        pickled = pickle.dumps(error)
        pickle.loads(pickled)
    except Exception:
        told = RuntimeError(f"{type(error).__name__}: {error}")
        told.add_note(note)
        return pickle.dumps(told)
    return pickled


def _cause(folder: Path, error: ProcessException, n: int) -> BaseException:
    """What ended a training: the error of the process that failed first, which the others may only have felt."""
    errors = sorted(folder.glob("[!.]*.error"))  # those with a dot were torn when a process was ended
    killed = isinstance(error, ProcessExitedException) and error.exit_code < 0
    if errors and not killed:
        first: BaseException = pickle.loads(errors[0].read_bytes())
        return first
    return RuntimeError(
        f"One of the {n} processes of the training is gone ({error}): if nobody has killed it, the machine most likely "
        "ran out of memory; go on by resume=<the run folder>, with fewer trainer.devices or a smaller model.batch_size."
    )


def _end(processes: Iterable[BaseProcess]) -> None:
    """Ends what still runs: it is interrupted, and killed if it does not listen."""
    running = [process for process in processes if process.is_alive()]
    try:
        for process in running:
            if process.pid is not None:
                os.kill(process.pid, signal.SIGINT)
        deadline = time.monotonic() + GRACE_S
        for process in running:
            process.join(max(0.0, deadline - time.monotonic()))
    finally:
        for process in running:
            process.kill()
            process.join()
