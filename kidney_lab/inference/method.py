"""A trained method: from a scan to a label map on the scan's own grid."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from kidney_lab.data.nifti import read_volume
from kidney_lab.data.prepare import prepare_image
from kidney_lab.geometry import Spacing, Volume, grid_from_spacing, reorient
from kidney_lab.inference.postprocessing import choose_rule
from kidney_lab.inference.precision import autocast
from kidney_lab.inference.restore import restore_labels
from kidney_lab.methods.stage import Stage


class TrainedMethod:
    """Segments scans by the stages of a finished training.

    The test phase of training, `task=predict` and a user's own script all end here, so that the same scan gets the
    same label map whoever asks.

    Args:
        stages: with their weights loaded, in order; the last one decides.
        device: to compute on.
        precision: Lightning's name of the precision that the stages were trained in.
        keep: which connected components stay, see `inference.postprocessing`.
    """

    def __init__(
        self, stages: Mapping[str, Stage], *, device: torch.device, precision: str, keep: str = "two_kidneys"
    ) -> None:
        self.stages = dict(stages)
        self.clean = choose_rule(keep)
        self.device = device
        self.precision = precision
        for stage in self.stages.values():
            stage.module.to(device).eval()

    def segment(self, image_hu: NDArray[Any], spacing_mm: Spacing) -> NDArray[np.uint8]:
        """Segments an array.

        Args:
            image_hu: `(D, H, W)` Hounsfield units in orientation IPL.
            spacing_mm: distance between voxels, `(D, H, W)`.

        Returns:
            `(D, H, W)` label values.
        """
        d, h, w = image_hu.shape
        return self._segment_ipl(Volume(image_hu, grid_from_spacing((d, h, w), spacing_mm)))

    def segment_file(self, path: str | Path) -> NDArray[np.uint8]:
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
        labels = self._segment_ipl(reorient(volume))
        ipl_grid = reorient(volume).grid
        back = reorient(Volume(labels, ipl_grid), volume.grid.orientation)
        return Volume(np.ascontiguousarray(back.array), volume.grid)

    def _segment_ipl(self, volume: Volume) -> NDArray[np.uint8]:
        stage = list(self.stages.values())[-1]
        prepared = prepare_image(volume, stage.grid)
        image = stage.intensity(torch.from_numpy(prepared.array.astype(np.float32))[None, None])
        image = torch.as_tensor(image).as_subclass(torch.Tensor).to(self.device)
        with autocast(self.precision, self.device):
            probabilities = stage.module.infer(image)[0]
        return self.clean(restore_labels(probabilities, prepared, stage.module.output.decide))
