"""A trained method: from a scan to a label map on the scan's own grid, stage after stage."""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kidney_lab.data.nifti import read_volume
from kidney_lab.data.prepare import GridRecipe, PreparedImage, prepare_image
from kidney_lab.data.views import RoiView
from kidney_lab.geometry import Spacing, Volume, grid_from_spacing, reorient
from kidney_lab.inference.combine import Combination, LastStage
from kidney_lab.inference.postprocessing import PostProcessing
from kidney_lab.inference.precision import precision_to_predict_in
from kidney_lab.inference.slabs import Slabs, label_map
from kidney_lab.inference.stage import predict_stage
from kidney_lab.inference.stage_output import StageOutput
from kidney_lab.labels import KIDNEY
from kidney_lab.methods.inference_settings import DEFAULTS, InferenceSettings
from kidney_lab.methods.output import Output
from kidney_lab.methods.prediction import Prediction
from kidney_lab.methods.stage import Stage

LabelMap = NDArray[np.uint8]
Prepare = Callable[[GridRecipe], PreparedImage]
"""Gives a scan on a grid; stages on one grid share it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What a method says of a scan, and how it came to it: label maps on the scan's own grid.

    Args:
        labels: the result.
        unprocessed: the same before post-processing.
        earlier: by name, the label maps of the stages that are not the result already, post-processed as the result
            where they mark kidneys; each is computed when it is asked for, and so is a stage that the result does not
            need.
        members: by name, the label maps of the runs that are members, each as the run by itself would segment the scan.
        said: the probabilities that the result was decided on, in memory order; asked for again, they are computed
            anew where a single stage decides.
    """

    labels: Volume
    unprocessed: Volume
    earlier: Mapping[str, Callable[[], Volume]]
    members: Mapping[str, Callable[[], Volume]]
    said: Slabs


class TrainedMethod:
    """Segments scans by the stages of a finished training, and by other methods that are members of its ensemble.

    The test phase of training, `task=predict` and a user's own script all end here, so that the same scan gets the
    same label map whoever asks.

    Args:
        stages: with their weights loaded, in order.
        device: to compute on.
        precision: Lightning's name of the precision that the stages were trained in.
        combination: makes the result of what stages and members say; by default the last stage decides.
        postprocessing: of the result on the scan's grid; as configured by default.
        members: other methods, by name; their names are not those of stages.
        settings: of inference; members have their own.

    Raises:
        InputError: the combination does not work on these stages and members.
    """

    def __init__(
        self,
        stages: Mapping[str, Stage],
        *,
        device: torch.device,
        precision: str,
        combination: Combination | None = None,
        postprocessing: PostProcessing | None = None,
        members: Mapping[str, "TrainedMethod"] | None = None,
        settings: InferenceSettings = DEFAULTS,
    ) -> None:
        self.stages = dict(stages)
        self.members = dict(members or {})
        self.combination = combination or LastStage()
        self.combination.check([*self.stages, *self.members])
        self.clean = postprocessing or PostProcessing()
        self.device = device
        self.settings = settings
        self.precision = precision_to_predict_in(settings.precision, trained=precision, device=device)
        for stage in self.stages.values():
            stage.module.to(device).eval()

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Networks of all stages, and of all members' as `<member>/<stage>`."""
        own: dict[str, nn.Module] = {name: stage.module.network for name, stage in self.stages.items()}
        members = ((name, member.networks) for name, member in self.members.items())
        return own | {f"{name}/{stage}": network for name, networks in members for stage, network in networks.items()}

    @property
    def output(self) -> Output:
        """Meaning of the channels of what it says of a scan."""
        stages: dict[str, Output] = {name: stage.module.output for name, stage in self.stages.items()}
        return self.combination.output(stages | {name: member.output for name, member in self.members.items()})

    def segment(self, image_hu: NDArray[Any], spacing_mm: Spacing) -> LabelMap:
        """Segments an array.

        Args:
            image_hu: `(D, H, W)` Hounsfield units in orientation IPL.
            spacing_mm: distance between voxels, `(D, H, W)`.

        Returns:
            `(D, H, W)` label values.
        """
        d, h, w = image_hu.shape
        return self.segment_volume(Volume(image_hu, grid_from_spacing((d, h, w), spacing_mm))).array

    def segment_file(self, path: str | Path) -> LabelMap:
        """Segments a NIfTI file.

        Args:
            path: of the file, in any orientation.

        Returns:
            Label values along the file's own axes.
        """
        return self.segment_volume(read_volume(Path(path))).array

    def segment_volume(self, volume: Volume) -> Volume:
        """Segments a volume in any orientation.

        Args:
            volume: Hounsfield units.

        Returns:
            Label values on exactly the volume's grid.
        """
        return self.segment_in_stages(volume, keep=False).labels

    def segment_in_stages(
        self,
        volume: Volume,
        name: str = "the scan",
        *,
        keep: bool = True,
        observe: Callable[[slice, Tensor], None] | None = None,
    ) -> Segmentation:
        """Segments a volume in any orientation, and tells what each stage said.

        Args:
            volume: Hounsfield units.
            name: of the scan, for warnings.
            keep: hold what stages predict on their own grids, but for one that decides alone, for whoever asks for
                their label maps afterwards; else that is computed anew, and what both a later stage and the result ask
                for is held within `settings.memory_gib`. So memory does not depend on the number of slices, but for the
                image, label maps and that bound.
            observe: is shown the probabilities that the result is decided on, see `label_map`; in memory order.

        Returns:
            Label maps on exactly the volume's grid.
        """
        ipl = reorient(volume)
        stages, members = self._told(cache(partial(prepare_image, ipl)), name, keep)
        said = self.combination({**stages, **members})
        if isinstance(said, StageOutput):
            said.keep_bytes = 0  # nobody asks for it but for the result
        labels = label_map(said, observe)

        def back(labels: LabelMap) -> Volume:
            turned = reorient(Volume(labels, ipl.grid), volume.grid.orientation)
            return Volume(np.ascontiguousarray(turned.array), volume.grid)

        def of_stage(output: StageOutput) -> Volume:
            found = label_map(output)
            return back(self.clean(found) if KIDNEY in output.output.values else found)

        def of_member(name: str) -> Volume:
            return back(self.members[name].clean(label_map(members[name])))

        return Segmentation(
            labels=back(self.clean(labels)),
            unprocessed=back(labels),
            earlier={name: partial(of_stage, output) for name, output in stages.items() if output is not said},
            members={name: partial(of_member, name) for name in members},
            said=said,
        )

    def _told(self, prepare: Prepare, scan: str, keep: bool) -> tuple[dict[str, StageOutput], dict[str, Slabs]]:
        """What every stage and every member says of a scan."""
        stages: dict[str, StageOutput] = {}
        sources = {stage.earlier.stage for stage in self.stages.values() if stage.earlier is not None}
        twice = sources & {*self.combination.asks([*self.stages, *self.members])}
        for name, stage in self.stages.items():
            source = None if stage.earlier is None else stages[stage.earlier.stage]
            predict = partial(self._predict, stage, source, (scan, name))
            keep_bytes = math.inf if keep else self.settings.memory_gib * 2**30 / len(twice) if name in twice else 0
            stages[name] = StageOutput(stage, partial(prepare, stage.grid), predict, keep_bytes)
        return stages, {name: member._say(prepare, scan, keep) for name, member in self.members.items()}

    def _say(self, prepare: Prepare, scan: str, keep: bool) -> Slabs:
        """What the method as a whole says of a scan, before post-processing."""
        stages, members = self._told(prepare, scan, keep)
        return self.combination({**stages, **members})

    def _predict(
        self, stage: Stage, source: StageOutput | None, names: tuple[str, str], image: PreparedImage
    ) -> Prediction:
        """Applies a stage to a prepared scan; `source` is what it takes from, `names` those of scan and stage."""
        prior = None
        if stage.earlier is not None and source is not None:
            prior = source.prior(image.grid.shape)
            if isinstance(stage.view, RoiView) and stage.earlier.roi != "none" and not prior.any():
                log.warning(
                    "%s: the stage %s found nothing, so that the stage %s searches the whole scan, which takes longer "
                    "and may find what is not there.",
                    *(names[0], stage.earlier.stage, names[1]),
                )
        return predict_stage(
            stage,
            image.array,
            prior,
            device=self.device,
            precision=self.precision,
            settings=self.settings,
            name=names[1],
        )
