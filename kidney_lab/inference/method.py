"""A trained method: from a scan to a label map on the scan's own grid, stage after stage."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kidney_lab.data.nifti import read_volume
from kidney_lab.data.prepare import PreparedImage, prepare_image
from kidney_lab.data.views import RoiView
from kidney_lab.geometry import Spacing, Volume, grid_from_spacing, reorient
from kidney_lab.inference.combine import Combine, LastStage
from kidney_lab.inference.postprocessing import PostProcessing
from kidney_lab.inference.priors import prior_labels
from kidney_lab.inference.restore import restore_labels
from kidney_lab.inference.stage import predict_stage
from kidney_lab.labels import KIDNEY
from kidney_lab.methods.prediction import Prediction
from kidney_lab.methods.stage import Stage

LabelMap = NDArray[np.uint8]

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class StageOutput:
    """What one stage says of a scan, computed when it is asked for.

    Args:
        stage: that predicts.
        prepare: gives the scan on its grid.
        predict: predicts the scan on that grid.
    """

    stage: Stage
    prepare: Callable[[], PreparedImage]
    predict: Callable[[PreparedImage], Prediction]

    @cached_property
    def prediction(self) -> Prediction:
        """On the stage's grid."""
        return self.predict(self.prepare())

    @cached_property
    def labels(self) -> LabelMap:
        """Label map `(D, H, W)` on the scan's grid, in memory order, without post-processing."""
        return restore_labels(self.prediction, self.prepare(), self.stage.module.output.decide)

    @property
    def marks_kidneys(self) -> bool:
        """Whether kidneys are marked in its label map; post-processing needs them to tell what belongs to them."""
        return KIDNEY in self.stage.module.output.values


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What a method says of a scan, and how it came to it: label maps on the scan's own grid.

    Args:
        labels: the result.
        unprocessed: the same before post-processing.
        earlier: by name, the label maps of the stages that are not the result already, post-processed as the result
            where they mark kidneys; each is computed when it is asked for, and so is a stage that the result does not
            need.
    """

    labels: Volume
    unprocessed: Volume
    earlier: Mapping[str, Callable[[], Volume]]


class TrainedMethod:
    """Segments scans by the stages of a finished training.

    The test phase of training, `task=predict` and a user's own script all end here, so that the same scan gets the
    same label map whoever asks.

    Args:
        stages: with their weights loaded, in order.
        device: to compute on.
        precision: Lightning's name of the precision that the stages were trained in.
        combine: makes the result of the stages' label maps; by default the last one decides.
        postprocessing: of the result on the scan's grid; as configured by default.
    """

    def __init__(
        self,
        stages: Mapping[str, Stage],
        *,
        device: torch.device,
        precision: str,
        combine: Combine | None = None,
        postprocessing: PostProcessing | None = None,
    ) -> None:
        self.stages = dict(stages)
        self.combine = combine or LastStage()
        self.clean = postprocessing or PostProcessing()
        self.device = device
        self.precision = precision
        for stage in self.stages.values():
            stage.module.to(device).eval()

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
        return self.segment_in_stages(volume).labels

    def segment_in_stages(self, volume: Volume, name: str = "the scan") -> Segmentation:
        """Segments a volume in any orientation, and keeps what each stage said.

        Args:
            volume: Hounsfield units.
            name: of the scan, for warnings.

        Returns:
            Label maps on exactly the volume's grid.
        """
        ipl = reorient(volume)

        def back(labels: LabelMap) -> Volume:
            turned = reorient(Volume(labels, ipl.grid), volume.grid.orientation)
            return Volume(np.ascontiguousarray(turned.array), volume.grid)

        def told(output: StageOutput) -> Volume:
            return back(self.clean(output.labels) if output.marks_kidneys else output.labels)

        outputs = self._outputs(ipl, name)
        labels = self.combine({name: partial(getattr, output, "labels") for name, output in outputs.items()})
        *earlier, last = outputs
        if labels is not outputs[last].labels:
            earlier.append(last)
        return Segmentation(
            back(self.clean(labels)), back(labels), {name: partial(told, outputs[name]) for name in earlier}
        )

    def _outputs(self, volume: Volume, scan: str) -> dict[str, StageOutput]:
        """What every stage says of a volume in memory order; stages on one grid share the prepared image."""
        prepare = cache(partial(prepare_image, volume))
        outputs: dict[str, StageOutput] = {}
        for name, stage in self.stages.items():
            source = None if stage.earlier is None else outputs[stage.earlier.stage]
            predict = partial(self._predict, stage, source, (scan, name))
            outputs[name] = StageOutput(stage, partial(prepare, stage.grid), predict)
        return outputs

    def _predict(
        self, stage: Stage, source: StageOutput | None, names: tuple[str, str], image: PreparedImage
    ) -> Prediction:
        """Applies a stage to a prepared scan; `source` is what it takes from, `names` those of scan and stage."""
        prior = None
        if stage.earlier is not None and source is not None:
            prior = prior_labels(source.prediction, image.grid.shape, source.stage.module.output)
            if isinstance(stage.view, RoiView) and stage.earlier.roi != "none" and not prior.any():
                log.warning(
                    "%s: the stage %s found nothing, so that the stage %s searches the whole scan, which takes longer "
                    "and may find what is not there.",
                    *(names[0], stage.earlier.stage, names[1]),
                )
        return predict_stage(stage, image.array, prior, device=self.device, precision=self.precision)
