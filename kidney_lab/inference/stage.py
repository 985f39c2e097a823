"""One stage applied to one prepared scan."""

import numpy as np
import torch
from numpy.typing import NDArray

from kidney_lab.inference.precision import autocast
from kidney_lab.methods.prediction import Prediction
from kidney_lab.methods.stage import Stage


def predict_stage(
    stage: Stage,
    image: NDArray[np.int16],
    prior: NDArray[np.uint8] | None,
    *,
    device: torch.device,
    precision: str,
) -> Prediction:
    """Applies a trained stage.

    Args:
        stage: in evaluation mode, on the device.
        image: `(D, H, W)` HU on the stage's grid.
        prior: labels of the earlier stage on that grid, where it takes any.
        device: that its module is on.
        precision: Lightning's name.

    Returns:
        Probabilities on the stage's grid.
    """
    labels = None if prior is None else torch.from_numpy(prior)[None]
    with autocast(precision, device):
        return stage.predict(torch.from_numpy(image)[None], labels)
