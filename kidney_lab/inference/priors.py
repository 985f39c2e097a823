"""What an earlier stage hands on to a later one: its cleaned label map on the later stage's grid."""

import logging
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from kidney_lab.data.priors import Priors
from kidney_lab.data.store import Store
from kidney_lab.geometry import Triple
from kidney_lab.inference.postprocessing import keep_two_kidneys
from kidney_lab.inference.restore import resample_labels
from kidney_lab.inference.stage import predict_stage
from kidney_lab.labels import KIDNEY
from kidney_lab.methods.inference_settings import InferenceSettings
from kidney_lab.methods.output import Output
from kidney_lab.methods.prediction import Prediction
from kidney_lab.methods.stage import Stage
from kidney_lab.process_group import place, wait_for_all

log = logging.getLogger(__name__)


def prior_labels(prediction: Prediction, shape: Triple, output: Output) -> NDArray[np.uint8]:
    """Label map that a stage hands on.

    Only the two kidneys of it (`keep_two_kidneys`) are handed on, whatever becomes of the final result: a region of
    interest would else be drawn out to every voxel that was taken for a kidney by mistake. A stage that marks masses
    and no kidneys hands on all that it found: there may be many masses, and small ones.

    Args:
        prediction: of the earlier stage.
        shape: of the later stage's grid, `(D, H, W)`, which has the same extent.
        output: meaning of its channels.

    Returns:
        uint8 of that shape.
    """
    labels = resample_labels(prediction, shape, output.decide)
    return keep_two_kidneys(labels) if KIDNEY in output.values else labels


def predict_priors(
    stage: Stage,
    cases: Sequence[str],
    priors: Priors,
    *,
    store: Store,
    onto: Store,
    source: Priors | None = None,
    device: torch.device,
    precision: str,
    settings: InferenceSettings,
    title: str,
) -> None:
    """Predicts cases of one stage's store for a later stage; what is there already is kept, ranks share the rest.

    Args:
        stage: trained.
        cases: ids.
        priors: where the predictions go.
        store: of the stage's grid.
        onto: of the later stage's grid.
        source: what the stage itself takes from the one before it.
        device: to compute on.
        precision: Lightning's name.
        settings: of inference.
        title: of the progress bar.
    """
    rank, world_size = place()
    missing = priors.missing(cases)
    wait_for_all()  # every rank has seen the same cases missing
    if missing:
        stage.module.to(device).eval()
        for case in track(missing[rank::world_size], title, disable=rank > 0):
            prior = None if source is None else source[case].label[...]
            prediction = predict_stage(
                stage, store[case].image[...], prior, device=device, precision=precision, settings=settings
            )
            labels = prior_labels(prediction, onto[case].shape, stage.module.output)
            if not labels.any():
                log.warning("%s: the stage found nothing, and hands on an empty label map.", case)
            priors.write(case, labels)
        stage.module.cpu()
    wait_for_all()
