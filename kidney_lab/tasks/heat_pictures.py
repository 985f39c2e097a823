"""Heat maps of cases: what ERNet's refit saw and made of the slices that hold most of a region."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from pytorch_lightning.loggers import WandbLogger
from torch import Tensor

from kidney_lab.data.instances import DETECTED
from kidney_lab.data.prepare import prepare_image, prepare_label
from kidney_lab.geometry import Volume
from kidney_lab.inference.method import TrainedMethod
from kidney_lab.inference.precision import autocast
from kidney_lab.labels import REGIONS
from kidney_lab.methods.softmax_refit import SoftmaxRefitSegmentation
from kidney_lab.reporting.heatmaps import THRESHOLD, HeatSlice, draw_heatmaps, save_heatmaps
from kidney_lab.reporting.panels import HEATMAPS


def heat_slices(
    module: SoftmaxRefitSegmentation, image: NDArray[np.int16], reference: NDArray[np.uint8]
) -> list[HeatSlice]:
    """Looks into the slice that holds most of each region.

    Args:
        module: of a stage.
        image: `(D, H, W)`, HU, on the stage's grid.
        reference: label map of that shape; it chooses the slices and is drawn, and the network does not see it.

    Returns:
        One for each region that the reference holds.
    """
    if module.slice_maps is None:
        raise RuntimeError("only the module of a stage can look into whole cases")
    found = []
    for number, region in enumerate(DETECTED):
        areas = np.isin(reference, REGIONS[region]).sum(axis=(1, 2))
        if not areas.any():
            continue
        index = int(areas.argmax())
        maps = module.slice_maps(image, index, module.explain).float().cpu().numpy()
        heat, before, after = maps[number :: len(DETECTED)]
        found.append(
            HeatSlice(
                region=region,
                image=image[index],
                heat=heat,
                before=before,
                after=after,
                prediction=after > THRESHOLD,
                reference=np.isin(reference[index], REGIONS[region]),
            )
        )
    return found


def save_case_heatmaps(run: Path, method: TrainedMethod, case: str, image: Volume, reference: NDArray[Any]) -> None:
    """Draws `heatmaps/<case>.png` into a run, where one of the method's stages refits a detector.

    Args:
        run: the run folder.
        method: of the run.
        case: id.
        image: HU in memory order.
        reference: label map of that shape.
    """
    for stage in method.stages.values():
        if isinstance(stage.module, SoftmaxRefitSegmentation):
            prepared = prepare_image(image, stage.grid)
            with autocast(method.precision, method.device):
                slices = heat_slices(stage.module, prepared.array, prepare_label(reference, prepared))
            if slices:
                save_heatmaps(run / HEATMAPS / f"{case}.png", slices, prepared.grid.spacing)


class LogHeatmaps(pl.Callback):
    """Shows heat maps of validation cases in W&B, where that is the logger and a stage has any.

    Args:
        n_cases: shown.
        spacing_mm: distance between voxels that pictures are drawn with, (D, H, W), in mm; None: 1 mm.
    """

    def __init__(self, n_cases: int, spacing_mm: Sequence[float] | None = None) -> None:
        self.n_cases = n_cases
        d, h, w = (1.0, 1.0, 1.0) if spacing_mm is None else spacing_mm
        self.spacing_mm = (d, h, w)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draws whole cases; slices and later cases are passed over."""
        shown = isinstance(outputs, Tensor) and batch_idx < self.n_cases
        if not shown or not isinstance(trainer.logger, WandbLogger):
            return
        if not isinstance(pl_module, SoftmaxRefitSegmentation):
            return
        image, reference = (np.asarray(batch[key][0].cpu()) for key in ("image", "label"))
        if slices := heat_slices(pl_module, image, reference):
            figure = draw_heatmaps(slices, self.spacing_mm, title=batch["case"])
            trainer.logger.log_image(f"heatmaps/{batch['case']}", [figure], step=trainer.global_step)
