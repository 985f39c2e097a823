"""The processes that share a training: how many there are, and how they wait for each other.

Each knows its place by the variables that `torchrun` sets, which Lightning reads as well
(`TorchElasticEnvironment`): on one machine the job sets them for the processes that it starts (`launch`), on several
machines `torchrun` does.
"""

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig
from torch import distributed

from kidney_lab.errors import InputError
from kidney_lab.process_group import wait_for_all

_PATIENCE = timedelta(days=1)
"""How long processes wait for each other: one may prepare a dataset. That one has died is noticed without waiting."""


def under_torchrun() -> bool:
    """Whether this process is one of those that share a training, started by `torchrun` or by `launch`."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def on_cpu(trainer: DictConfig) -> bool:
    """Whether the trainer's devices are cores."""
    return trainer.accelerator == "cpu" or (trainer.accelerator == "auto" and not torch.cuda.is_available())


def processes_here(trainer: DictConfig) -> int:
    """Number of processes that the trainer's devices mean on one machine, one per device as Lightning counts them."""
    devices = trainer.devices
    if isinstance(devices, ListConfig):
        return len(devices)
    if devices in ("auto", -1):
        return 1 if on_cpu(trainer) else max(1, torch.cuda.device_count())
    return int(devices)


def check_processes(trainer: DictConfig) -> None:
    """Makes sure that as many processes have been started as the trainer means, and in a way that they can agree.

    Raises:
        InputError: they are fewer or more, or they cannot know of one run folder.
    """
    here, machines = processes_here(trainer), trainer.num_nodes
    if not under_torchrun():
        if machines != 1:
            raise InputError(
                f"trainer.num_nodes={machines} needs a process on each machine: start the command there by torchrun "
                f"--nnodes={machines} --nproc-per-node={here} (see docs/several_gpus.md), or set trainer.num_nodes=1."
            )
        if int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
            raise InputError(
                f"srun has started {os.environ['SLURM_STEP_NUM_TASKS']} processes that know nothing of each other: let "
                "it start one a machine, with --ntasks-per-node=1, and for several machines torchrun, as "
                "docs/several_gpus.md shows."
            )
        return
    started = int(os.environ["WORLD_SIZE"])
    if started != here * machines or int(os.environ["LOCAL_WORLD_SIZE"]) != here:
        raise InputError(
            f"trainer.devices={trainer.devices} trainer.num_nodes={machines} means {here} processes on each of "
            f"{machines} machines, and torchrun has started {started} with {os.environ['LOCAL_WORLD_SIZE']} on this "
            "one: set both as torchrun's --nproc-per-node and --nnodes."
        )
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        raise InputError(
            "-m does not work under torchrun, whose processes share one training: start the trainings one by one, or "
            "the sweep without torchrun, whose jobs start the processes that trainer.devices asks for."
        )
    if started > 1 and not any(item.startswith("hydra.run.dir=") for item in HydraConfig.get().overrides.hydra):
        raise InputError(
            "hydra.run.dir is not given, and the processes that torchrun has started cannot agree on a run folder "
            "whose name is the time: give hydra.run.dir=, a folder that all machines see, or resume=."
        )


def join_group(trainer: DictConfig) -> None:
    """Brings this process together with the others of its training; it is left when the process ends.

    A GPU becomes the one that this process works on, as Lightning will choose it. Does nothing in a process that is
    alone.
    """
    if not under_torchrun() or os.environ["WORLD_SIZE"] == "1":
        return
    device = None
    if not on_cpu(trainer):
        place = int(os.environ["LOCAL_RANK"])
        device = torch.device("cuda", trainer.devices[place] if isinstance(trainer.devices, ListConfig) else place)
        torch.cuda.set_device(device)
    distributed.init_process_group("gloo" if device is None else "nccl", timeout=_PATIENCE, device_id=device)
    atexit.register(_leave_group)


@contextmanager
def machine_first() -> Iterator[None]:
    """Lets one process of each machine do a block before the others do it, who so find done what is done once."""
    later = under_torchrun() and os.environ["LOCAL_RANK"] != "0"
    if later:
        wait_for_all()
    yield
    if not later:
        wait_for_all()


def _leave_group() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()
