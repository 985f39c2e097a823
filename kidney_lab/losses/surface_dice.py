"""Surface Dice of soft segmentations: the share of two borders that lies within a tolerance of the other one.

The score of label maps is `kidney_lab.metrics.surface.surface_dice` (S. Nikolov et al., J Med Internet Res 2021,
doi:10.2196/26151). Hao's thesis (Melbourne 2024, sections 2.2 and 5.1) trains on it but does not say how it becomes
differentiable. Chosen here:

* The border of a probability map is how much it changes within a voxel's 3 x 3 x 3 neighbourhood, largest minus
  smallest. For a mask these are the voxels on both sides of the surface. Neighbours beyond the edge of the volume are
  left out, so that there is no border along the edge: a patch cuts organs there, they do not end. The metric, which
  sees whole scans, takes the outside for background.
* The voxels within the tolerance of a border are its largest value in a box about each voxel, which reaches as many
  voxels along each axis as the tolerance has.

Far from the border of the target nothing here says which way to go: it needs a loss of volumes beside it.
"""

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

Form = Literal["nikolov", "thesis"]


def soft_surface_dice(
    input: Tensor,
    target: Tensor,
    *,
    radius: Sequence[int] = (1, 1, 1),
    form: Form = "nikolov",
    batch: bool = False,
    smooth: float = 1e-5,
) -> Tensor:
    """Surface Dice of probabilities, which for masks counts voxels of their borders.

    With the borders `b` and their bands `d(b)`, the voxels within `radius`, it is, for "nikolov",
    `(sum b_p d(b_g) + sum b_g d(b_p)) / sum(b_p + b_g)`: the share of each border that the band of the other one holds.
    For "thesis", the formula as it is printed there, it is the Dice of the two bands,
    `2 sum d(b_p) d(b_g) / sum(d(b_p) + d(b_g))`: it reaches 1 only where the bands are the same.

    Args:
        input: probabilities `(B, C, D, H, W)`, or `(B, C, H, W)` of slices; 0 to 1.
        target: one-hot or multi-label, of the same shape, 0 or 1.
        radius: voxels of tolerance, (D, H, W); slices take the last two.
        form: "nikolov" or "thesis".
        batch: sum over the samples before dividing, so that the batch is one volume; no border is found between them.
        smooth: voxels that are added above and below the fraction; makes two empty borders agree.

    Returns:
        `(B, C)`, or `(C,)` if `batch`; 0 to 1, larger is better; 1 where neither has a border.
    """
    radius = tuple(radius)[-(input.ndim - 2) :]
    predicted, wanted = soft_border(input), soft_border(target)
    predicted_band, wanted_band = _box_max(predicted, radius), _box_max(wanted, radius)
    if form == "nikolov":
        found, total = predicted * wanted_band + wanted * predicted_band, predicted + wanted
    else:
        found, total = 2 * predicted_band * wanted_band, predicted_band + wanted_band
    axes = ([0] if batch else []) + list(range(2, input.ndim))
    return (found.sum(axes) + smooth) / (total.sum(axes) + smooth)


def soft_border(channels: Tensor) -> Tensor:
    """Largest minus smallest value in the 3 x 3 x 3 (3 x 3) neighbourhood of every voxel.

    Args:
        channels: `(B, C, D, H, W)` or `(B, C, H, W)`.

    Returns:
        The same shape; 0 to 1 for probabilities.
    """
    one = (1,) * (channels.ndim - 2)
    return _box_max(channels, one) + _box_max(-channels, one)


def _box_max(channels: Tensor, radius: Sequence[int]) -> Tensor:
    """Largest value in a box about every voxel, cut off at the volume's edge: one axis after the other."""
    for axis, reach in enumerate(radius, start=2):
        channels = _max_along(channels, axis, reach)
    return channels


def _max_along(channels: Tensor, axis: int, reach: int) -> Tensor:
    shape, window = channels.shape, 2 * reach + 1
    if axis == channels.ndim - 1:
        return F.max_pool1d(channels.flatten(0, -2), window, stride=1, padding=reach).reshape(shape)
    # The later axes take the place of channels, stored last: a CPU then works on many at once, four times as fast as
    # max_pool3d on the whole box.
    rows = channels.reshape(shape[:axis].numel(), shape[axis], 1, -1).permute(0, 3, 1, 2)
    largest = F.max_pool2d(rows, (window, 1), stride=1, padding=(reach, 0))
    return largest.permute(0, 2, 3, 1).reshape(shape)
