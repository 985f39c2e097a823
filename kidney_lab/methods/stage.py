"""A stage: one trained part of a method, with the grid and the view that it is trained on."""

from dataclasses import dataclass
from typing import Any

from monai.transforms import Compose

from kidney_lab.data.prepare import GridRecipe
from kidney_lab.data.views import PatchView
from kidney_lab.methods.supervised import SupervisedSegmentation


@dataclass
class Stage:
    """What a stage's config composes.

    Args:
        module: the LightningModule.
        view: how training samples are read.
        augment: MONAI dictionary transform over `image` and `label`.
        intensity: MONAI transform from HU to the network's input.
        inferer: MONAI inferer for whole volumes.
        grid: how cases are brought to the stage's grid.
        batch_size: per rank.
    """

    module: SupervisedSegmentation
    view: PatchView
    augment: Compose
    intensity: Any
    inferer: Any
    grid: GridRecipe
    batch_size: int

    def __post_init__(self) -> None:
        self.module.inferer = self.inferer
