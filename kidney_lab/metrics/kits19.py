"""The score of KiTS19: Dice of the kidney with its tumor, Dice of the tumor, and their mean.

N. Heller et al., "The state of the art in kidney and kidney tumor segmentation in contrast-enhanced CT imaging: Results
of the KiTS19 challenge", Medical Image Analysis 2021, doi:10.1016/j.media.2020.101821. Teams were ranked by the mean
over cases of the mean of both values.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kidney_lab.labels import REGIONS
from kidney_lab.metrics.overlap import confusion, f1
from kidney_lab.metrics.surface import check_shapes, common_box

_SCORED: Final = ("kidney_and_mass", "tumor")


def kits19_scores(prediction: NDArray[Any], reference: NDArray[Any]) -> dict[tuple[str, str], float]:
    """Scores one predicted label map as KiTS19 does.

    The kidney is every label, 1 and 2. A cyst (3) is unknown to KiTS19, whose kidney label holds the cysts: what a
    method trained on KiTS21 or KiTS23 calls a cyst counts as kidney here. The challenge's published code takes every
    label above 1 as tumor; it and this function agree on label maps of 0, 1 and 2, which the challenge asked for. Every
    KiTS19 case has both regions; where one is empty in both maps, its Dice and the mean are undefined (0 / 0).

    Args:
        prediction: label map `(D, H, W)`: 0 background, 1 kidney, 2 tumor, 3 cyst.
        reference: label map of the same shape, on the same grid.

    Returns:
        Value in [0, 1], or NaN, of `("kidney_and_mass", "dice")`, `("tumor", "dice")` and `("mean", "dice")`.

    Raises:
        InputError: if the shapes differ or are not three-dimensional.
    """
    check_shapes(prediction, reference)
    box = common_box(prediction, reference)
    scores = {
        (region, "dice"): f1(confusion(*(np.isin(labels[box], REGIONS[region]) for labels in (prediction, reference))))
        for region in _SCORED
    }
    return {**scores, ("mean", "dice"): sum(scores.values()) / len(scores)}
