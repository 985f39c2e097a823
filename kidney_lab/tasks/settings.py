"""Settings that cannot work, told before data is prepared and not after hours."""

from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from kidney_lab.errors import InputError
from kidney_lab.inference.postprocessing import choose_rule

_SMALLEST: dict[str, int] = {
    "data.num_workers": 0,
    "model.batch_size": 1,
    "prepare.workers": 1,
    "trainer.accumulate_grad_batches": 1,
    "trainer.check_val_every_n_epoch": 1,
    "trainer.max_epochs": 1,
    "view.samples_per_epoch": 1,
    "view.val_samples": 1,
}
_NULL_ALLOWED = ("data.num_workers", "prepare.workers")


def check_settings(config: DictConfig) -> None:
    """Finds settings that cannot work.

    Raises:
        InputError: on the first of them.
    """
    refuse_nested_processes(config)
    check_numbers(config)
    choose_rule(config.postprocessing.keep)
    if not isinstance(config.seed, int) or not 0 <= config.seed < 2**32:
        raise InputError(f"seed={config.seed} is no seed: give a whole number from 0 to {2**32 - 1}.")
    for name, stage_config in config.model.stages.items():
        stage: Any = instantiate(stage_config, _convert_="all")
        try:
            stage.module.configure_optimizers()
        except (TypeError, ValueError) as error:
            raise InputError(
                f"The optimizer or scheduler of the stage {name} cannot be made ({error}): check optimizer.*, "
                "scheduler.* and model.lr."
            ) from error


def check_numbers(config: DictConfig) -> None:
    """Makes sure that counts are whole numbers that are large enough.

    Raises:
        InputError: on the first that is not.
    """
    for key, smallest in _SMALLEST.items():
        value = OmegaConf.select(config, key)
        if value is None and (key in _NULL_ALLOWED or key.split(".")[0] not in config):
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < smallest:
            null = ", or null" if key in _NULL_ALLOWED else ""
            raise InputError(f"{key}={value} is no count: give a whole number of at least {smallest}{null}.")


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
