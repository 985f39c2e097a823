"""Settings that cannot work are told before any data is prepared."""

import re
from collections.abc import Mapping

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf

from kidney_lab.composition.messages import to_plain
from kidney_lab.errors import InputError
from kidney_lab.inference.member_runs import output_of, read_members
from kidney_lab.inference.postprocessing import PostProcessing
from kidney_lab.inference.precision import precision_to_predict_in
from kidney_lab.memory import cores
from kidney_lab.methods.alternating import WAITING_STRATEGY, AlternatingSegmentation
from kidney_lab.methods.inference_settings import InferenceSettings
from kidney_lab.methods.pipeline import check_order, enabled_stages
from kidney_lab.methods.run_logger import check_logger
from kidney_lab.methods.stage import Stage
from kidney_lab.networks.weight_files import Missing, MissingWeightsError
from kidney_lab.numbers import is_whole
from kidney_lab.tasks.ranks import check_processes, on_cpu, processes_here
from kidney_lab.tasks.stage_check import check_stage

_SHARING = ("ddp", "fsdp", "deepspeed")
"""Beginnings of Lightning's names of strategies by which processes share their gradients."""

_STARTING = re.compile("_(spawn|fork|notebook)")
"""Lightning's names of strategies that start processes in each `fit`."""

_TIME = re.compile(r"\d+(:\d\d){3}")


def check_settings(config: DictConfig) -> None:
    """Finds settings of a training that cannot work.

    Raises:
        InputError: on the first of them.
    """
    check_trainer(config)
    check_logger(config.logger)
    check_processes(config.trainer)
    PostProcessing(**config.postprocessing)
    inference = InferenceSettings(**to_plain(config.inference))
    precision_to_predict_in(inference.precision, trained="32-true", device=torch.device("cpu"))  # there is such a name
    output_of(config, read_members(config))  # its members fit together
    stages = {name: instantiate(stage, _convert_="all") for name, stage in enabled_stages(config.model.stages).items()}
    check_order(stages)
    check_strategy(config.trainer, stages)
    for name, stage in stages.items():
        check_stage(name, stage)
    if config.init is None and config.resume is None:
        load_pretrained(stages)  # to know before the data is prepared that it can be


def load_pretrained(stages: Mapping[str, Stage]) -> None:
    """Loads the weights that the stages start from.

    Raises:
        InputError: files are missing, of all stages in one message, or one is unreadable or of another network.
    """
    missing: list[Missing] = []
    for stage in stages.values():
        try:
            stage.module.load_pretrained()
        except MissingWeightsError as error:
            missing += error.missing
    if missing:
        raise MissingWeightsError(missing)


def check_strategy(trainer: DictConfig, stages: Mapping[str, Stage]) -> None:
    """Makes sure that the processes are not started a second time, nor wait for gradients that never come.

    Raises:
        InputError: they would be, or would wait: those of an adversarial stage.
    """
    several = processes_here(trainer) * trainer.num_nodes > 1
    for stage in stages.values():
        module = stage.module
        adversarial = isinstance(module, AlternatingSegmentation) and module.has_discriminators
        chosen = str(stage.trainer.get("strategy", trainer.strategy))
        if several and _STARTING.search(chosen):
            raise InputError(
                f"trainer.strategy={chosen} starts processes of its own, and a training has started its processes "
                "already: choose trainer.strategy=ddp."
            )
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
    devices = config.trainer.devices
    cpu = on_cpu(config.trainer)
    if config.trainer.sync_batchnorm and cpu:
        raise InputError("trainer.sync_batchnorm=true needs GPUs, and the trainer's devices are cores: leave it out.")
    if devices == "auto" or (not cpu and (devices == -1 or isinstance(devices, ListConfig))):
        return  # all there are, or certain GPUs by their numbers
    if not is_whole(devices) or devices < 1:
        raise InputError(
            f"trainer.devices={devices} is no number of devices: give a whole number of at least 1, or auto."
        )
    there, kind = (cores(), "cores") if cpu else (torch.cuda.device_count(), "GPUs")
    if devices > there:
        raise InputError(
            f"trainer.devices={devices} is more than the {there} {kind} that are here: give at most "
            f"trainer.devices={there}."
        )
