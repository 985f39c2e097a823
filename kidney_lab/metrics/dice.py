"""Dice coefficient of two masks (L. R. Dice, Ecology 1945, doi:10.2307/1932409)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def dice(prediction: NDArray[Any], reference: NDArray[Any]) -> float:
    """Overlap of two masks: `2 |P & R| / (|P| + |R|)`.

    The formula is undefined where both masks are empty; KiTS21 and KiTS23 then give 1 (nothing was there and nothing
    was claimed), and 0 where only one is empty, which is what the formula gives anyway.

    Args:
        prediction: mask `(D, H, W)`; nonzero is foreground.
        reference: mask of the same shape.

    Returns:
        Dice in [0, 1], larger is better.

    >>> dice(np.array([1, 1, 0]), np.array([0, 1, 0]))  # 2 * 1 / (2 + 1)
    0.6666666666666666
    """
    inside, wanted = prediction.astype(bool, copy=False), reference.astype(bool, copy=False)
    total = np.count_nonzero(inside) + np.count_nonzero(wanted)
    return 2 * np.count_nonzero(inside & wanted) / total if total else 1.0
