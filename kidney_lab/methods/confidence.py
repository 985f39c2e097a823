"""Pictures of what a discriminator takes for a reference, drawn after every validation of an adversarial training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from pytorch_lightning.loggers import WandbLogger
from torch import Tensor

from kidney_lab.files import replacing
from kidney_lab.methods.adversarial import AdversarialSegmentation

PICTURE = "confidence.png"
_COLUMNS = ("Image", "Reference", "Prediction", "Confidence M")


def draw_confidence(
    image: NDArray[Any], reference: NDArray[Any], prediction: NDArray[Any], confidence: NDArray[Any]
) -> Figure:
    """Draws a row per sample: image, reference, prediction and confidence map.

    Args:
        image: `(N, H, W)`; black is the least of all values, white the largest.
        reference: `(N, H, W)`, 0 or 1.
        prediction: `(N, H, W)`, 0 to 1.
        confidence: `(N, H, W)`, M of the prediction, 0 (taken for a prediction) to 1 (taken for a reference).

    Returns:
        A figure that belongs to no window.
    """
    figure = Figure(figsize=(9.2, 2.2 * len(image) + 0.3), dpi=100, layout="constrained")
    rows = figure.subplots(len(image), len(_COLUMNS), squeeze=False)
    for number, planes in enumerate(zip(image, reference, prediction, confidence, strict=True)):
        for axes, plane, title in zip(rows[number], planes, _COLUMNS, strict=True):
            low, high = (image.min(), image.max()) if title == "Image" else (0, 1)
            color = "viridis" if title == _COLUMNS[-1] else "gray"
            axes.imshow(plane, cmap=color, vmin=low, vmax=high, interpolation="nearest")
            axes.set_title("" if number else title, fontsize=10)
            axes.set_axis_off()
    figure.colorbar(rows[0, -1].images[0], ax=rows, fraction=0.02)
    return figure


class LogConfidence(pl.Callback):
    """Draws `confidence.png` into the folder of a stage with discriminators, and shows it in W&B where that logs.

    The samples are those validation patches of the first batch that hold most of the regions; each validation replaces
    the picture.

    Args:
        n_samples: shown at most.
        dirpath: folder of the stage, set before the stage is fitted; None: no file.
    """

    def __init__(self, n_samples: int, dirpath: str | None = None) -> None:
        self.n_samples = n_samples
        self.dirpath = dirpath

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draws from the first batch of patches; later ones and whole cases are passed over."""
        if not isinstance(pl_module, AdversarialSegmentation) or not pl_module.discriminators:
            return
        if not trainer.is_global_zero or dataloader_idx > 0 or batch_idx > 0:
            return
        figure = draw_confidence(*_planes(pl_module, batch["image"], batch["label"], self.n_samples))
        if self.dirpath is not None:
            with replacing(Path(self.dirpath) / PICTURE) as temporary:
                figure.savefig(temporary, format="png")
        if isinstance(trainer.logger, WandbLogger):
            trainer.logger.log_image("confidence", [figure], step=trainer.global_step)


def _planes(
    module: AdversarialSegmentation, image: Tensor, label: Tensor, n_samples: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Image, reference, prediction and confidence `(N, H, W)` of the samples that hold most of the region."""
    target = module.output.target(label)
    largest = target.flatten(1).sum(dim=1).argsort(descending=True, stable=True)[:n_samples]
    image, target = image[largest], target[largest]
    prediction, confidence = module.confidence(image)
    # Nested regions become grey levels, the innermost the brightest.
    target, prediction = (volume.mean(dim=1, keepdim=True) for volume in (target, prediction))
    if image.ndim == 5:
        slices = target[:, 0].sum(dim=(2, 3)).argmax(dim=1)
        rows = torch.arange(len(slices), device=slices.device)
        image, target, prediction, confidence = (v[rows, :, slices] for v in (image, target, prediction, confidence))
    shown = [np.asarray(v[:, 0].float().cpu()) for v in (image, target, prediction, confidence)]
    return shown[0], shown[1], shown[2], shown[3]
