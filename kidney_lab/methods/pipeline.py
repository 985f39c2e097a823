"""The stages of a method: which there are, in which order, and what each takes from which."""

from collections.abc import Mapping

from omegaconf import DictConfig

from kidney_lab.errors import InputError
from kidney_lab.methods.stage import Stage


def enabled_stages(stages: DictConfig) -> dict[str, DictConfig]:
    """Configurations of the stages that take part, in order.

    Args:
        stages: `model.stages`; a stage whose `enabled` is false is left out. There are none in an ensemble of
            finished runs.
    """
    return {str(name): stage for name, stage in stages.items() if stage.get("enabled", True)}


def check_order(stages: Mapping[str, Stage]) -> None:
    """Makes sure that stages take only from stages before them, on grids of the same extent, and contain only these.

    Raises:
        InputError: one does not.
    """
    before: dict[str, Stage] = {}
    for name, stage in stages.items():
        if stage.contains is not None and stage.contains not in before:
            raise InputError(
                f"The stage {name} contains the stage {stage.contains}, which is not enabled before it: the stages are "
                f"{', '.join(stages)}."
            )
        if stage.earlier is not None:
            source = before.get(stage.earlier.stage)
            if source is None:
                raise InputError(
                    f"The stage {name} takes from the stage {stage.earlier.stage}, which is not enabled before it: "
                    f"the stages are {', '.join(stages)}."
                )
            if stage.earlier.prior == "out_of_fold" and source.earlier is not None:
                raise InputError(
                    f"The stage {name} cannot take out-of-fold predictions of {stage.earlier.stage}, which itself "
                    f"takes from {source.earlier.stage}: choose model.prior=predicted."
                )
            if source.grid.crop_to_body != stage.grid.crop_to_body:
                raise InputError(
                    f"The stages {stage.earlier.stage} and {name} differ in grid.crop_to_body, so that one's "
                    "prediction does not cover the other's grid: set both alike."
                )
        before[name] = stage
