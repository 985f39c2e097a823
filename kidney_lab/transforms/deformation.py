"""A deformation of a patch: a linear map and a smooth displacement, and where in the source it reads.

Coordinates are voxels relative to the centre of a patch, in the order of its axes: `(D, H, W)`, or `(H, W)` of a slice.
The value at target x is read at source `matrix @ (x + displacement(x))`: deformed first, then rotated and scaled, as
nnU-Net and MONAI do it.

The displacement is a uniform cubic B-spline through a coarse grid of control points, as in free-form registration
(Rueckert et al., IEEE Trans. Medical Imaging 18(8), 1999). It is smooth to the second derivative, never larger than its
control points, so that its reach is known before it is computed, and separable, so that it costs little.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Deformation:
    """Source coordinate of every target voxel.

    Args:
        matrix: `(n, n)`, n = 2 or 3.
        control: displacements of the control points in voxels, `(n, *points)`; None: no displacement.
        spacing: voxels between control points along each axis.
    """

    matrix: NDArray[np.float64]
    control: NDArray[np.float32] | None = None
    spacing: tuple[float, ...] = ()

    @property
    def reach(self) -> NDArray[np.float64]:
        """Bound of the displacement along each axis, in voxels."""
        n = len(self.matrix)
        return np.zeros(n) if self.control is None else np.abs(self.control).reshape(n, -1).max(1).astype(float)


def control_shape(shape: Sequence[int], spacing: Sequence[float]) -> tuple[int, ...]:
    """Number of control points along each axis that a patch of `shape` needs."""
    return tuple(int((n - 1) / s) + 4 for n, s in zip(shape, spacing, strict=True))


def spline_weights(size: int, spacing: float) -> NDArray[np.float32]:
    """Cubic B-spline weights of the control points at every voxel of an axis, `(size, points)`; rows sum to 1."""
    cell, u = np.divmod(np.arange(size) / spacing, 1)
    values = (1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3
    weights = np.zeros((size, *control_shape([size], [spacing])), np.float32)
    for k, value in enumerate(values):
        weights[np.arange(size), cell.astype(int) + k] = value / 6
    return weights


def displacement(control: Tensor, shape: Sequence[int], spacing: Sequence[float]) -> Tensor:
    """Evaluates the spline at every voxel.

    Args:
        control: `(n, *points)`.
        shape: of the patch.
        spacing: voxels between control points.

    Returns:
        `(n, *shape)`, in the unit of `control`.
    """
    field = control
    for size, step in zip(shape, spacing, strict=True):  # each pass takes the first axis and appends the new one
        weights = torch.from_numpy(spline_weights(size, step)).to(control)
        field = torch.tensordot(field, weights, dims=([1], [1]))
    return field


def source_shape(deformation: Deformation, shape: Sequence[int]) -> tuple[int, ...]:
    """Smallest box, centred on the patch and no smaller than it, that holds every voxel that is read.

    Args:
        deformation: of the patch.
        shape: of the patch.

    Returns:
        Shape whose difference from `shape` is even along every axis, so that both centres coincide.
    """
    half = (np.asarray(shape) - 1) / 2
    extent = np.abs(deformation.matrix) @ (half + deformation.reach)
    margin = np.ceil(np.maximum(extent - half, 0) - 1e-6).astype(int)  # 1e-6: a turn by 90 degrees is no turn by more
    return tuple(int(n + 2 * m) for n, m in zip(shape, margin, strict=True))


def sampling_grid(
    deformation: Deformation, shape: Sequence[int], source: Sequence[int], device: torch.device
) -> Tensor:
    """Grid that `torch.nn.functional.grid_sample` takes, for `align_corners=False`.

    Built axis by axis: sums of three vectors that broadcast cost a tenth of the matrix product of every voxel's
    coordinates.

    Args:
        deformation: of the patch.
        shape: of the patch.
        source: shape of the tensor that is read, its centre on the patch's.
        device: to build it on.

    Returns:
        `(*shape, n)` float32; the last axis holds the coordinates in the reverse order of the axes, as torch wants it.
    """
    n = len(shape)
    scaled = deformation.matrix * (2 / np.asarray(source, float))[:, None]
    axes = [torch.arange(size, dtype=torch.float32, device=device) - (size - 1) / 2 for size in shape]
    grid = torch.empty(*shape, n, device=device)
    for row in range(n):
        terms = [(scaled[row, k] * axes[k]).view([-1 if k == j else 1 for j in range(n)]) for k in range(n)]
        torch.add(sum(terms[1:-1], terms[0]), terms[-1], out=grid[..., n - 1 - row])
    if deformation.control is not None:
        # The map is linear: it is applied to the few control points instead of to every voxel.
        mapped = np.tensordot(scaled, deformation.control, axes=1).astype(np.float32)
        field = displacement(torch.from_numpy(mapped).to(device), shape, deformation.spacing)
        for row in range(n):
            grid[..., n - 1 - row] += field[row]
    return grid
