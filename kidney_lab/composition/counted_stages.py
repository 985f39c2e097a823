"""Which stages of a run are counted, where what its networks cost is summed."""

from collections.abc import Iterable

from omegaconf import DictConfig, OmegaConf


def counted_stages(config: DictConfig, stages: Iterable[str]) -> list[str]:
    """Names the stages whose costs add up: one that another contains is counted with that one.

    Args:
        config: of the run; `model.stages.<name>.contains` names what a stage contains.
        stages: names of the run's stages.

    >>> config = OmegaConf.create({"model": {"stages": {"detector": {}, "refit": {"contains": "detector"}}}})
    >>> counted_stages(config, ["detector", "refit"])
    ['refit']
    """
    names = list(stages)
    contained = {OmegaConf.select(config, f"model.stages.{name}.contains") for name in names}
    return [name for name in names if name not in contained]
