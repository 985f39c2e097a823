"""Test-time augmentation by mirroring: a network looks at every mirror image, and the mean of its answers counts.

As nnU-Net does (Isensee et al., Nature Methods 18, 2021), what the network says before its softmax or sigmoid is
averaged. It takes `2 ** n` times as long for `n` axes, and helps only a network that was trained on mirrored samples.
"""

from collections.abc import Callable, Sequence
from itertools import combinations

from torch import Tensor

Look = Callable[[Tensor], Tensor]
"""What a network says of images `(B, C, D, H, W)` or `(B, C, H, W)`: scores `(B, K, ...)`, float32."""


def mirrored(look: Look, axes: Sequence[int]) -> Look:
    """Averages what is said of all mirror images.

    Args:
        look: at an image.
        axes: that are mirrored, alone and together: 0 slices (D), 1 rows (H), 2 columns (W). Images of slices have no
            axis 0.

    Returns:
        The mean; `look` itself without axes.
    """
    if not axes:
        return look

    def mean(image: Tensor) -> Tensor:
        spatial = [axis - 3 for axis in axes if axis - 3 >= 2 - image.ndim]
        flips = [flip for n in range(1, len(spatial) + 1) for flip in combinations(spatial, n)]
        total = look(image)
        for flip in flips:
            total = total + look(image.flip(flip)).flip(flip)
        return total / (1 + len(flips))

    return mean
