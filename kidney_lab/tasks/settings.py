"""Settings that cannot work are told before any data is prepared."""

import re
from collections.abc import Collection, Mapping

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf

from kidney_lab.errors import InputError
from kidney_lab.inference.combine import Combine
from kidney_lab.inference.postprocessing import PostProcessing
from kidney_lab.memory import cores
from kidney_lab.methods.alternating import WAITING_STRATEGY, AlternatingSegmentation
from kidney_lab.methods.pipeline import check_order, enabled_stages
from kidney_lab.methods.stage import Stage
from kidney_lab.numbers import is_whole
from kidney_lab.tasks.stage_check import check_stage
from kidney_lab.tasks.values import check_numbers, check_switches

_SHARING = ("ddp", "fsdp", "deepspeed")
"""Beginnings of Lightning's names of strategies by which processes share their gradients."""

_TIME = re.compile(r"\d+(:\d\d){3}")


def check_settings(config: DictConfig) -> None:
    """Finds settings of a training that cannot work.

    Raises:
        InputError: on the first of them.
    """
    refuse_nested_processes(config)
    check_numbers(config)
    check_switches(config)
    check_trainer(config)
    PostProcessing(**config.postprocessing)
    stages = {name: instantiate(stage, _convert_="all") for name, stage in enabled_stages(config.model.stages).items()}
    check_order(stages)
    check_combination(config, stages)
    check_strategy(OmegaConf.select(config, "trainer.strategy"), stages)
    for name, stage in stages.items():
        check_stage(name, stage)
        if config.init is None and config.resume is None:
            stage.module.load_pretrained()  # to know before the data is prepared that it can be


def check_combination(config: DictConfig, stages: Collection[str]) -> None:
    """Makes sure that the stages whose outputs are combined take part.

    Raises:
        InputError: one of them does not.
    """
    combine: Combine | None = instantiate(config.model.get("combine"), _convert_="all")
    missing = [] if combine is None else [name for name in combine.needs if name not in stages]
    if missing:
        raise InputError(
            f"model.combine needs the stages {', '.join(missing)}, which are not enabled: the stages are "
            f"{', '.join(stages)}."
        )


def check_strategy(strategy: str | None, stages: Mapping[str, Stage]) -> None:
    """Makes sure that the processes of an adversarial stage would not wait for gradients that never come.

    A strategy that Lightning chooses itself, where none is given, is checked when the stage begins.

    Raises:
        InputError: they would.
    """
    for stage in stages.values():
        module = stage.module
        adversarial = isinstance(module, AlternatingSegmentation) and module.has_discriminators
        chosen = str(stage.trainer.get("strategy", strategy))
        if adversarial and chosen.startswith(_SHARING) and "find_unused_parameters_true" not in chosen:
            raise InputError(WAITING_STRATEGY)


def check_trainer(config: DictConfig) -> None:
    """Makes sure that the trainer's time and devices are some that Lightning takes, and that are there.

    Raises:
        InputError: they are not.
    """
    for key in ("data.max_time", "trainer.max_time"):
        value = OmegaConf.select(config, key)
        if value is not None and not _TIME.fullmatch(str(value)):
            raise InputError(f"{key}={value} is no time: give DD:HH:MM:SS, such as 00:12:00:00, or null.")
    devices, accelerator = config.trainer.devices, config.trainer.accelerator
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.cuda.is_available())
    if devices == "auto" or (not on_cpu and (devices == -1 or isinstance(devices, ListConfig))):
        return  # all there are, or certain GPUs by their numbers
    if not is_whole(devices) or devices < 1:
        raise InputError(
            f"trainer.devices={devices} is no number of devices: give a whole number of at least 1, or auto."
        )
    there, kind = (cores(), "cores") if on_cpu else (torch.cuda.device_count(), "GPUs")
    if devices > there:
        raise InputError(
            f"trainer.devices={devices} is more than the {there} {kind} that are here: give at most "
            f"trainer.devices={there}."
        )


def refuse_nested_processes(config: DictConfig) -> None:
    """Stops a sweep whose jobs would each start several processes.

    Lightning starts the processes beside the first by repeating its command line, which in a sweep is the sweep.

    Raises:
        InputError: in such a sweep.
    """
    if HydraConfig.get().mode == RunMode.MULTIRUN and config.trainer.devices != 1:
        raise InputError(
            f"trainer.devices={config.trainer.devices} does not work inside a sweep (-m): set trainer.devices=1, "
            "or start the trainings one by one."
        )
