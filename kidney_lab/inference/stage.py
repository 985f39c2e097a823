"""One stage applied to one prepared scan."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from kidney_lab.inference.precision import autocast
from kidney_lab.methods.inference_settings import DEFAULTS, InferenceSettings
from kidney_lab.methods.prediction import Prediction
from kidney_lab.methods.stage import Stage
from kidney_lab.progress import stage_named


def predict_stage(
    stage: Stage,
    image: NDArray[np.int16],
    prior: NDArray[np.uint8] | None,
    *,
    device: torch.device,
    precision: str,
    settings: InferenceSettings = DEFAULTS,
    name: str = "",
) -> Prediction:
    """Applies a trained stage.

    Args:
        stage: in evaluation mode, on the device.
        image: `(D, H, W)` HU on the stage's grid.
        prior: labels of the earlier stage on that grid, where it takes any.
        device: that its module is on.
        precision: Lightning's name.
        settings: of inference.
        name: of the stage, for whoever shows progress.

    Returns:
        Probabilities on the stage's grid, computed when somebody goes through them.
    """
    labels = None if prior is None else torch.from_numpy(prior)[None]
    context = partial(_computing, name, precision, device)
    return stage.predict(torch.from_numpy(image)[None], labels, settings=settings, context=context)


@contextmanager
def _computing(name: str, precision: str, device: torch.device) -> Iterator[None]:
    with stage_named(name), autocast(precision, device):
        yield
