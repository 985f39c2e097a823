"""A stage: one trained part of a method, with the grid and the view that it is trained on."""

import json
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from monai.transforms import Compose
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from kidney_lab.data.body import Box
from kidney_lab.data.prepare import GridRecipe
from kidney_lab.data.statistics import read_statistics, write_statistics
from kidney_lab.data.store import Store
from kidney_lab.data.views import AIR_HU, RoiView, View
from kidney_lab.data.views.datasets import normalize
from kidney_lab.data.views.prior_input import one_hot
from kidney_lab.data.views.roi_boxes import roi_boxes
from kidney_lab.errors import InputError
from kidney_lab.files import write_text
from kidney_lab.methods.earlier import Earlier
from kidney_lab.methods.prediction import Prediction, predict_in_boxes, read_padded, whole
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
        inferer: MONAI inferer for whole volumes, or for boxes of them.
        grid: how cases are brought to the stage's grid.
        batch_size: per rank.
        earlier: what it takes from an earlier stage; None: nothing.
        trainer: settings of the trainer that are this stage's own, such as `max_epochs`.
        enabled: False leaves the stage out of the method, see `enabled_stages`.

    Raises:
        InputError: the view gives slices and the network takes volumes, or the reverse; or it has no box, and the
            earlier stage gives regions of interest.
    """

    module: SupervisedSegmentation
    view: View
    augment: Augment
    intensity: Any
    inferer: Any
    grid: GridRecipe
    batch_size: int
    earlier: Earlier | None = None
    trainer: Mapping[str, Any] = field(default_factory=dict)
    enabled: bool = True

    def __post_init__(self) -> None:
        refuse_other_dimensions(self.view, self.module.network)
        if self.earlier is not None and self.earlier.roi != "none" and not isinstance(self.view, RoiView):
            raise InputError(
                f"The view {type(self.view).__name__} has no box that could be laid about the earlier stage's "
                "prediction: choose view=roi, or model.roi=none."
            )
        self.module.inferer = self.inferer
        self.module.predict_case = self.predict
        if self.view.quantize:
            self.intensity = Compose([self.intensity, RoundIntensity()])
        self._configured_view = self.view

    @property
    def channels(self) -> int:
        """Input channels of the network: those of the view, and those of the earlier stage's labels."""
        return self.view.channels + (self.earlier.channels if self.earlier is not None else 0)

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
            InputError: the intensities need statistics, or the view the size of a box, and there are none.
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
        if isinstance(self.view, RoiView) and self.view.size is None:
            raise InputError(
                f"{folder} lacks {VIEW_FILE}, the size of the box that the training found: bring that file back, or "
                "train again."
            )

    def predict(self, image: Tensor, prior: Tensor | None) -> Prediction:
        """Predicts a whole volume, in the region of interest where the earlier stage gives one.

        Args:
            image: `(C, D, H, W)` on the stage's grid, as `intensity` gives it.
            prior: `(1, D, H, W)` labels that the earlier stage predicted; None where there is no earlier stage.

        Returns:
            The prediction. Where the earlier stage found nothing, the whole volume is searched.
        """
        air = self._air()

        def infer(box: Box) -> Tensor:
            part = read_padded(image, box, air)
            if prior is not None and self.earlier is not None and self.earlier.values:
                labels = read_padded(prior, box, 0)
                part = torch.cat([part, one_hot(labels, self.earlier.values).to(part)])
            return self.module.infer(part[None])[0]

        d, h, w = image.shape[1:]
        return predict_in_boxes((d, h, w), self._boxes(image, prior), infer, smallest=self._window())

    def _boxes(self, image: Tensor, prior: Tensor | None) -> list[Box]:
        """Boxes of the view's size about what the earlier stage found; else the whole volume."""
        everything = [whole(image.shape[1:])]
        if prior is None or self.earlier is None or self.earlier.roi == "none":
            return everything
        size = getattr(self.view, "size", None)
        if size is None:
            raise RuntimeError("the box has no size before the stage is fitted")
        return roi_boxes(prior[0].cpu().numpy(), size) or everything

    def _air(self) -> float:
        """What the network sees of air, which lies beyond the volume."""
        return float(normalize(torch.full((1, 1, 1, 1), AIR_HU, dtype=torch.int16), self.intensity))

    def _window(self) -> list[int]:
        """`(D, H, W)` voxels that the inferer needs at least."""
        window = getattr(self.inferer, "roi_size", None)
        if not isinstance(window, Sequence):
            return [1, 1, 1]
        return [1] * (3 - len(window)) + list(window)


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
