"""Resampling a volume to another shape over the same extent: splines for images, nearest neighbours for labels.

The convention is `scipy.ndimage.zoom(..., grid_mode=True, mode="nearest")`: voxels are boxes, the first box begins
where the first old box began and the last ends where the last old one ended, so the centre of new voxel i lies at
`(i + 1/2) * n / m - 1/2` in old voxels.

Spline interpolation of order 3 on a regular grid is linear and separable: prefilter and interpolation along one axis
are one matrix. Its rows decay as 0.27^k (the filter's pole is sqrt(3) - 2; Unser, Aldroubi & Eden, IEEE Trans. Signal
Processing 41(2), 1993), so that a block of rows needs a narrow span of columns. Multiplying by such blocks is more than
ten times as fast as scipy's own loop, which visits 64 neighbours per voxel, and gives the same values.

The volume passes through in slices: each is resampled within its plane, and kept only until no new slice needs it any
more. Beside the image and the result there are never more than a few dozen slices in memory.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from kidney_lab.geometry import Triple

Order = Literal[0, 1, 3]
"""Order of the spline: nearest neighbour, linear or cubic."""

_BLOCK_ROWS = 32
_BLOCK_PIXELS = 8192  # of the slices, mixed and rounded at a time: they stay in the processor's cache
_NEGLIGIBLE = 1e-8  # of a weight: times 4000 HU this is far below a rounding of float32
_INT16 = np.iinfo(np.int16)


class Block(NamedTuple):
    """Rows of an axis's matrix and the columns that they need.

    Args:
        rows: new voxels.
        columns: old voxels.
        weights: `(rows, columns)` float32.
    """

    rows: slice
    columns: slice
    weights: NDArray[np.float32]


@lru_cache(maxsize=64)
def axis_operator(n: int, m: int, order: Order, antialias: bool = False) -> tuple[Block, ...]:
    """Matrix that resamples an axis of `n` voxels to `m`, as blocks of rows.

    Its columns are scipy's zoom of the unit vectors, so both agree by construction; for order 0, `resample_nearest`'s
    choice of them. An axis that stays has one block per voxel.

    Args:
        n: old size.
        m: new size.
        order: of the spline, 0, 1 or 3.
        antialias: smooth the axis first where it shrinks.

    Returns:
        Blocks that cover the rows in order; the first and the last column never go back from one to the next.
    """
    if n == m:
        return tuple(Block(slice(i, i + 1), slice(i, i + 1), np.ones((1, 1), np.float32)) for i in range(n))
    units = np.eye(n)
    if antialias and m < n:
        units = ndimage.gaussian_filter1d(units, (n / m - 1) / 2, axis=1, mode="nearest")
    if order == 0:
        matrix = units[:, _nearest(n, m)].T
    else:
        matrix = ndimage.zoom(units, (1, m / n), order=order, mode="nearest", grid_mode=True).T
    blocks = []
    for start in range(0, m, _BLOCK_ROWS):
        rows = slice(start, min(start + _BLOCK_ROWS, m))
        used = np.flatnonzero(np.abs(matrix[rows]).max(axis=0) > _NEGLIGIBLE)
        columns = slice(int(used[0]), int(used[-1]) + 1)
        blocks.append(Block(rows, columns, np.ascontiguousarray(matrix[rows, columns], dtype=np.float32)))
    return tuple(blocks)


def resample(
    image: NDArray[Any],
    shape: Triple,
    *,
    order: Order | tuple[Order, Order, Order] = 3,
    antialias: bool = False,
    dtype: type[np.float32] | type[np.int16] = np.float32,
) -> NDArray[Any]:
    """Resamples an image by splines over the same extent.

    Args:
        image: `(D, H, W)`, any real type.
        shape: new `(D, H, W)`; an axis whose size stays is left exactly as it is.
        order: 3 for cubic splines, 1 for linear, 0 for nearest neighbours; or one for each of `(D, H, W)`. nnU-Net's
            rule for thick slices is `(0, 3, 3)`.
        antialias: smooth axes that shrink by a Gaussian first, of the width that scikit-image's `resize` takes,
            (n / m - 1) / 2 old voxels; else noise and edges finer than the new grid fold into it.
        dtype: float32, or int16 for values that are rounded (half to even) and clipped to its range, which needs half
            the memory.

    Returns:
        Array of the new shape and that type, C-contiguous.
    """
    orders = (order, order, order) if isinstance(order, int) else order
    along_d, along_h, along_w = (
        axis_operator(n, m, along, antialias) for n, m, along in zip(image.shape, shape, orders, strict=True)
    )
    result = np.empty(shape, dtype)
    new = result.reshape(shape[0], -1)
    for block, planes in _planes(image, along_d, along_h, along_w, shape):
        for start in range(0, new.shape[1], _BLOCK_PIXELS):
            pixels = slice(start, start + _BLOCK_PIXELS)
            mixed = block.weights @ planes[:, pixels]
            if dtype is np.int16:
                np.clip(np.rint(mixed, out=mixed), _INT16.min, _INT16.max, out=mixed)
            new[block.rows, pixels] = mixed
    return result


def resample_nearest(label: NDArray[Any], shape: Triple) -> NDArray[Any]:
    """Resamples a label map by nearest neighbours over the same extent.

    New voxel i takes old voxel `floor((i + 1/2) * n / m)`, the one that its centre lies in: `resample`'s convention. A
    centre on the border of two old voxels takes the second, as where an axis is halved.

    Args:
        label: `(D, H, W)`.
        shape: new `(D, H, W)`.

    Returns:
        Array of the new shape and the old type, C-contiguous.
    """
    result = label
    for axis in _shrinking_first(label.shape, shape):
        n, m = label.shape[axis], shape[axis]
        result = result.take(_nearest(n, m), axis=axis)
    return np.array(result, order="C", copy=True if result is label else None)


def _nearest(n: int, m: int) -> NDArray[np.intp]:
    """Old voxel that the centre of each new one lies in; on a border, the second."""
    return (2 * np.arange(m) + 1) * n // (2 * m)


def _shrinking_first(old: Sequence[int], new: Sequence[int]) -> list[int]:
    """Axes that change, in the order that keeps what lies between them smallest."""
    return sorted((axis for axis in range(3) if old[axis] != new[axis]), key=lambda axis: new[axis] / old[axis])


def _planes(
    image: NDArray[Any], along_d: Sequence[Block], along_h: Sequence[Block], along_w: Sequence[Block], shape: Triple
) -> Iterator[tuple[Block, NDArray[np.float32]]]:
    """Gives every block along D with the slices that it needs, `(columns, H * W)`, resampled within their planes.

    Both ends of the columns only move forward from block to block, and slices that come up again are kept.
    """
    if image.strides[2] != image.itemsize:
        image = np.ascontiguousarray(image)  # a slice that is scattered in memory would be gathered slowly
    planes, first = np.empty((0, shape[1] * shape[2]), np.float32), 0
    for block in along_d:
        start, stop = block.columns.start, block.columns.stop
        kept = planes[start - first :]
        planes, first = np.empty((stop - start, kept.shape[1]), np.float32), start
        planes[: len(kept)] = kept
        for k in range(start + len(kept), stop):
            old = image[k].astype(np.float32, copy=False)
            planes[k - start] = _product(along_h, _product(along_w, old.T, shape[2]).T, shape[1]).ravel()
        yield block, planes


def _product(operator: Sequence[Block], matrix: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Multiplies a matrix by an axis's operator from the left."""
    if size == len(matrix):
        return matrix
    product = np.empty((size, matrix.shape[1]), np.float32)
    for rows, columns, weights in operator:
        np.matmul(weights, matrix[columns], out=product[rows])
    return product
