"""A stage: one trained part of a method, with the grid and the view that it is trained on."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from monai.inferers import SliceInferer
from monai.transforms import Compose
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from kidney_lab.data.prepare import GridRecipe
from kidney_lab.data.statistics import read_statistics, write_statistics
from kidney_lab.data.store import Sliceable, Store
from kidney_lab.data.views import RoiView, SliceRoiView, View
from kidney_lab.data.views.datasets import normalize
from kidney_lab.data.views.prior_input import one_hot
from kidney_lab.data.views.window import Scan, Window
from kidney_lab.errors import InputError
from kidney_lab.files import write_text
from kidney_lab.methods.earlier import Earlier
from kidney_lab.methods.inference_settings import DEFAULTS, InferenceSettings
from kidney_lab.methods.prediction import Prediction
from kidney_lab.methods.scanning import Scanning
from kidney_lab.methods.supervised import SupervisedSegmentation
from kidney_lab.transforms.augment import Augment
from kidney_lab.transforms.normalize import RoundIntensity, foreground_normalizer, grey_step

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
        inferer: MONAI inferer for the windows that the view cuts whole volumes into.
        grid: how cases are brought to the stage's grid.
        batch_size: per rank.
        earlier: what it takes from an earlier stage; None: nothing.
        trainer: settings of the trainer that are this stage's own, such as `max_epochs`.
        enabled: False leaves the stage out of the method, see `enabled_stages`.
        contains: name of an earlier stage whose trained module is part of this one's, see `load_contained`; None: no.

    Raises:
        InputError: the view gives slices and the network takes volumes, or the reverse; the view and the earlier stage
            do not agree on regions of interest; or the inferer cuts slices as well.
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
    contains: str | None = None

    def __post_init__(self) -> None:
        refuse_other_dimensions(self.view, self.module.network)
        refuse_missing_roi(self.view, self.earlier)
        refuse_slicing_twice(self.inferer)
        self.module.inferer = self.inferer
        self.module.predict_case = self.predict
        self.module.slice_maps = self.slice_maps
        if self.view.quantize:
            self.intensity = Compose([self.intensity, RoundIntensity(grey_step(self.intensity))])
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
            InputError: the intensities need statistics, or the view the size of a box, and there are none that can be
                read.
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
            self.view = restored_view(self._configured_view, folder / VIEW_FILE)
        if isinstance(self.view, RoiView) and self.view.size is None:
            raise InputError(
                f"{folder} lacks {VIEW_FILE}, the size of the box that the training found: bring that file back, or "
                "train again."
            )

    def predict(
        self,
        image: Tensor,
        prior: Tensor | None,
        *,
        settings: InferenceSettings = DEFAULTS,
        context: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> Prediction:
        """Predicts a whole volume, in the windows that the view cuts it into.

        Args:
            image: int16 `(1, D, H, W)`, HU, on the stage's grid.
            prior: `(1, D, H, W)` labels that the earlier stage predicted; None where there is no earlier stage.
            settings: of inference.
            context: entered whenever the network computes, such as an autocast.

        Returns:
            The prediction, on the module's device; empty where the view looks at nothing. It is computed when somebody
            goes through it.
        """
        scan = Scan(image[0].cpu().numpy())
        labels = None if prior is None else prior[0].cpu().numpy()
        roi = labels if self.earlier is not None and self.earlier.roi != "none" else None
        windows = sorted(self.view.windows(scan.shape, roi, self._smallest_window()), key=lambda one: one.box[0].start)
        scanning = Scanning(
            module=self.module,
            view=self.view,
            scan=scan,
            show=partial(self._show, scan, labels),
            batch_voxels=self.batch_size * prod(self.view.roi_size),
            settings=settings,
            context=context,
        )
        return scanning.predict(windows)

    def slice_maps(self, image: NDArray[np.int16], index: int, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """Maps of one slice of a volume, which a view of slices reads as for training.

        Args:
            image: `(D, H, W)`, HU, on the stage's grid.
            index: of the slice.
            compute: maps `(B, K, h, w)` of the network's input `(B, C, h, w)`.

        Returns:
            `(K, H, W)`, on the pixels of the volume's slice.
        """
        scan = Scan(image)
        window = self.view.windows(scan.shape, None, self._smallest_window())[index]
        maps = compute(self._show(scan, None, window)[None].to(self.module.device))
        return self.view.place(maps[0], window, scan.shape)[:, 0]

    def _show(self, scan: Scan, prior: NDArray[np.uint8] | None, window: Window) -> Tensor:
        """What the network sees of a window, `(C, *window)`: read and normalised as a training sample is."""
        values = [] if self.earlier is None or prior is None else self.earlier.values
        maps = [cast(Sliceable, prior)] if values else []
        image, read = self.view.read(scan, maps, window.corner, window.shape)
        shown = normalize(torch.from_numpy(np.ascontiguousarray(image)), self.intensity)
        return torch.cat([shown, one_hot(torch.from_numpy(read), values)]) if values else shown

    def _smallest_window(self) -> list[int]:
        """Shape that the inferer needs at least, as many axes as the view's samples."""
        window = getattr(self.inferer, "roi_size", None)
        window = [window] * self.view.spatial_dims if isinstance(window, int) else list(window or [])
        return [1] * (self.view.spatial_dims - len(window)) + [max(1, n or 1) for n in window]


def restored_view(view: View, file: Path) -> View:
    """A view with what its training found, of which only what the view knows is taken.

    Raises:
        InputError: the file cannot be read, or gives the view what cannot be.
    """
    restored = copy(view)
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        vars(restored).update({name: value for name, value in found.items() if name in vars(view)})
        getattr(restored, "__post_init__", lambda: None)()  # checks its fields
    except (OSError, ValueError, TypeError, AttributeError, InputError) as error:
        details = " ".join(str(error).split()).rstrip(".")
        raise InputError(f"{file} cannot be read ({details}): bring that file back, or train again.") from error
    return restored


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


def refuse_slicing_twice(inferer: Any) -> None:
    """Makes sure that the inferer takes what a view gives, slices `(B, C, H, W)` from a view of slices.

    Raises:
        InputError: it cuts volumes into slices itself.
    """
    if isinstance(inferer, SliceInferer):
        raise InputError(
            "monai.inferers.SliceInferer cuts volumes into slices, which the view has done already: name "
            "monai.inferers.SlidingWindowInferer with a 2D roi_size, or SimpleInferer."
        )


def refuse_missing_roi(view: View, earlier: Earlier | None) -> None:
    """Makes sure that a view that needs boxes gets them, and that boxes meet a view that uses them.

    Raises:
        InputError: there are boxes and the view has none, or the reverse.
    """
    places = earlier is not None and earlier.roi != "none"
    if places and not isinstance(view, RoiView | SliceRoiView):
        raise InputError(
            f"The view {type(view).__name__} has no box that could be laid about the earlier stage's prediction: "
            f"choose view={'roi' if view.spatial_dims == 3 else 'slice_rois'}, or model.roi=none."
        )
    if isinstance(view, SliceRoiView) and not places:
        raise InputError(
            "The view SliceRoiView cuts squares about what an earlier stage predicts, and this stage takes none: "
            "choose view=slices."
        )
