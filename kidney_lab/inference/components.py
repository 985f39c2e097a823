"""Connected components of a mask, numbered and counted: what post-processing decides about.

Voxels that touch by a face, an edge or a corner belong together (26-connectivity).
"""

import cc3d
import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.uint16 | np.uint32 | np.uint64]
"""Number of the component that each voxel `(D, H, W)` lies in; 0 outside the mask."""

_COUNTED_AT_ONCE = 1 << 22  # voxels: numpy counts in 64 bits, so that a whole scan would take gigabytes


def number_components(mask: NDArray[np.bool_]) -> tuple[Numbers, int]:
    """Numbers what hangs together.

    Args:
        mask: `(D, H, W)`.

    Returns:
        Numbers `(D, H, W)` from 1, and how many components there are.
    """
    return cc3d.connected_components(mask, connectivity=26, return_N=True)


def count_voxels(numbers: Numbers, n: int, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Counts the voxels of each component that lie in a mask.

    Args:
        numbers: `(D, H, W)`, see `number_components`.
        n: how many components there are.
        mask: `(D, H, W)`, which voxels count.

    Returns:
        `(n + 1,)`, at place 0 what lies in no component.
    """
    counts = np.zeros(n + 1, np.int64)
    step = max(1, _COUNTED_AT_ONCE // max(1, numbers[0].size))
    for start in range(0, len(numbers), step):
        part = slice(start, start + step)
        counts += np.bincount(numbers[part][mask[part]], minlength=n + 1)
    return counts
