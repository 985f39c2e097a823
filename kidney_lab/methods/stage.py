"""A stage: one trained part of a method, with the grid and the view that it is trained on."""

import json
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.transforms import Compose
from torch import nn
from torch.nn.modules.conv import _ConvNd

from kidney_lab.data.prepare import GridRecipe
from kidney_lab.data.statistics import read_statistics, write_statistics
from kidney_lab.data.store import Store
from kidney_lab.data.views import AIR_HU, View
from kidney_lab.data.views.datasets import normalize
from kidney_lab.errors import InputError
from kidney_lab.files import write_text
from kidney_lab.methods.supervised import SupervisedSegmentation
from kidney_lab.transforms.augment import Augment
from kidney_lab.transforms.normalize import RoundIntensity, foreground_normalizer

INTENSITY_FILE, VIEW_FILE = "intensity.json", "view.json"


@dataclass
class Stage:
    """What a stage's config composes.

    What depends on the training cases (statistics of intensities, the size of an ROI box) is taken from the store when
    the stage is fitted, kept in the run, and read back from there, so that prediction needs no store.

    Args:
        module: the LightningModule.
        view: how training samples are read.
        augment: of training samples.
        intensity: MONAI transform from HU to the network's input.
        inferer: MONAI inferer for whole volumes; where it pads them (`cval`), it is told to pad with air.
        grid: how cases are brought to the stage's grid.
        batch_size: per rank.

    Raises:
        InputError: the view gives slices and the network takes volumes, or the reverse.
    """

    module: SupervisedSegmentation
    view: View
    augment: Augment
    intensity: Any
    inferer: Any
    grid: GridRecipe
    batch_size: int

    def __post_init__(self) -> None:
        refuse_other_dimensions(self.view, self.module.network)
        self.module.inferer = self.inferer
        if self.view.quantize:
            self.intensity = Compose([self.intensity, RoundIntensity()])
        self._configured_view = self.view
        self._pad_with_air()

    def fit(self, store: Store, cases: Sequence[str]) -> None:
        """Takes from the training cases what depends on them.

        Args:
            store: of the stage's grid.
            cases: ids of the training split.

        Raises:
            InputError: the cases have no labels to take it from.
        """
        normalizer = foreground_normalizer(self.intensity)
        if normalizer is not None:
            normalizer.fit(store, cases)
        self.view = self._configured_view.fitted(store, cases)
        self._pad_with_air()

    def save(self, folder: Path) -> None:
        """Writes what `fit` took into the stage's folder of a run, one file each where there is anything."""
        normalizer = foreground_normalizer(self.intensity)
        if normalizer is not None and normalizer.statistics is not None:
            write_statistics(folder / INTENSITY_FILE, normalizer.statistics)
        before, after = vars(self._configured_view), vars(self.view)
        found = {name: value for name, value in after.items() if value != before[name]}
        if found:
            write_text(folder / VIEW_FILE, json.dumps(found) + "\n")

    def restore(self, folder: Path) -> None:
        """Reads back what `save` wrote.

        Raises:
            InputError: the intensities need statistics, and there are none.
        """
        normalizer = foreground_normalizer(self.intensity)
        if normalizer is not None:
            normalizer.statistics = read_statistics(folder / INTENSITY_FILE)
            if normalizer.statistics is None:
                raise InputError(
                    f"{folder} lacks a readable {INTENSITY_FILE}, the statistics that the training normalised by: "
                    "bring that file back, or train again."
                )
        if (folder / VIEW_FILE).is_file():
            self.view = copy(self._configured_view)
            vars(self.view).update(json.loads((folder / VIEW_FILE).read_text(encoding="utf-8")))
        self._pad_with_air()

    def _pad_with_air(self) -> None:
        normalizer = foreground_normalizer(self.intensity)
        if hasattr(self.inferer, "cval") and (normalizer is None or normalizer.statistics is not None):
            air = normalize(torch.full((1, 1, 1, 1), AIR_HU, dtype=torch.int16), self.intensity)
            self.inferer.cval = float(air)


def spatial_dims_of(network: nn.Module) -> int | None:
    """Number of spatial axes that a network's first convolution has; None where it has no convolution."""
    first = next((module for module in network.modules() if isinstance(module, _ConvNd)), None)
    return None if first is None else len(first.kernel_size)


def refuse_other_dimensions(view: View, network: nn.Module) -> None:
    """Makes sure that a view gives what the network takes.

    Raises:
        InputError: one works on slices, the other on volumes.
    """
    taken = spatial_dims_of(network)
    if taken is not None and taken != view.spatial_dims:
        other = "view=slices" if taken == 2 else "view=patches or view=roi"
        raise InputError(
            f"The view gives {view.spatial_dims}D samples ({type(view).__name__}), but the model's network takes "
            f"{taken}D ones ({type(network).__name__}): choose {other}, or a {view.spatial_dims}D model."
        )
