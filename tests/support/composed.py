"""What a composed configuration is made of."""

from hydra.utils import instantiate
from omegaconf import DictConfig

from kidney_lab.methods.pipeline import enabled_stages


def channels_of(config: DictConfig) -> dict[str, int]:
    """The stages that are trained, in order, with the channels that each takes: of images and of labels of a prior."""
    stages = enabled_stages(config.model.stages)
    return {name: instantiate(stage, _convert_="all").channels for name, stage in stages.items()}
