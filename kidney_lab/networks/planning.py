"""nnU-Net's rules that plan a 3D network from a dataset's fingerprint.

Isensee et al., Nature Methods 18, 2021 (doi:10.1038/s41592-020-01008-z), Methods and Supplementary Note 2, as nnU-Net
2.8 applies them to its plain `3d_fullres` configuration: the grid has the median spacing; the patch has the grid's
aspect and shrinks from the median shape until the network fits the memory; an axis is halved as long as its spacing is
within a factor of two of the finest and four voxels are left. Left out are the low-resolution configuration of the
cascade, and the 1e-5 mm by which nnU-Net keeps a coarse axis coarser than the others.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kidney_lab.data.fingerprint import Fingerprint
from kidney_lab.errors import InputError
from kidney_lab.geometry import Spacing, Triple

SMALLEST_MAP = 4  # voxels along an axis that is halved, at the lowest level
ANISOTROPIC = 3.0  # ratio of spacings, and of shapes, above which the median is too coarse a grid
ALIKE = 2.0  # ratio of spacings below which axes are halved and convolved together
FIRST_EDGE = 256  # the search starts from a patch of this many voxels cubed
FIRST_CHANNELS, MOST_CHANNELS = 32, 320
CONVOLUTIONS = 2  # of a block
SMALLEST_BATCH = 2
LARGEST_SHARE = 0.05  # of the dataset's voxels in one batch
FEATURES_PER_GB = 70e6  # voxels times channels of one sample, in a batch of two: nnU-Net's 560 million in 8 GB


@dataclass(frozen=True)
class Topology:
    """How a U-Net halves a patch.

    Args:
        patch_size: `(D, H, W)` voxels, divisible by the strides.
        strides: from each level to the next coarser one.
        kernel_sizes: of the convolutions of every level, one more than the strides.
    """

    patch_size: Triple
    strides: tuple[Triple, ...]
    kernel_sizes: tuple[Triple, ...]

    @property
    def channels(self) -> tuple[int, ...]:
        """Features of every level, doubled from level to level."""
        return tuple(min(FIRST_CHANNELS * 2**level, MOST_CHANNELS) for level in range(len(self.kernel_sizes)))

    @property
    def multiple(self) -> Triple:
        """What the strides divide a patch by."""
        return _multiple(self.strides)

    def features(self, out_channels: int) -> int:
        """Voxels times channels that the convolutions of one sample give, nnU-Net's measure of memory.

        Every level but the lowest has two blocks of two convolutions and one transposed convolution; the lowest has one
        block, the finest the logits as well.
        """
        voxels = math.prod(self.patch_size)
        total = out_channels * voxels
        for level, width in enumerate(self.channels):
            is_lowest = level == len(self.strides)
            total += width * voxels * (CONVOLUTIONS if is_lowest else 2 * CONVOLUTIONS + 1)
            if not is_lowest:
                voxels //= math.prod(self.strides[level])
        return total


@dataclass(frozen=True)
class Plan:
    """A network and the grid that it works on.

    Args:
        spacing: mm, `(D, H, W)`.
        median_shape: of the cases on that grid, voxels.
        patch_size: voxels.
        strides: from each level to the next coarser one.
        kernel_sizes: of every level.
        channels: of every level.
        batch_size: patches.
    """

    spacing: Spacing
    median_shape: Spacing
    patch_size: Triple
    strides: tuple[Triple, ...]
    kernel_sizes: tuple[Triple, ...]
    channels: tuple[int, ...]
    batch_size: int

    @property
    def supervised_levels(self) -> int:
        """Decoder outputs with a loss of their own: all but the coarsest, which nnU-Net weighs by zero."""
        return max(1, len(self.strides) - 1)


def plan(fingerprint: Fingerprint, *, out_channels: int = 3, memory_gb: float = 8.0) -> Plan:
    """Plans the network.

    Args:
        fingerprint: of the cases.
        out_channels: of the logits; nnU-Net counts the background and every label.
        memory_gb: of the GPU, in nnU-Net's measure: the feature maps that 8 GB hold in its own training.

    Returns:
        The plan.

    Raises:
        InputError: no patch fits the memory.
    """
    spacing = target_spacing(fingerprint)
    median = median_shape(fingerprint, spacing)
    budget = memory_gb * FEATURES_PER_GB
    found = topology(spacing, first_patch(spacing, median))
    while found.features(out_channels) > budget:
        smaller = _shrunk(found, spacing, median)
        if smaller is None:
            raise InputError(
                f"memory_gb={memory_gb:g} is too little for a patch of {list(found.patch_size)} voxels, which cannot "
                "shrink any more: give more, nnU-Net plans for 8."
            )
        found = smaller
    fitting = round(budget / found.features(out_channels) * SMALLEST_BATCH)
    share = LARGEST_SHARE * math.prod(median) * len(fingerprint.cases) / math.prod(found.patch_size)
    return Plan(
        spacing=spacing,
        median_shape=median,
        patch_size=found.patch_size,
        strides=found.strides,
        kernel_sizes=found.kernel_sizes,
        channels=found.channels,
        batch_size=max(SMALLEST_BATCH, min(fitting, round(share))),
    )


def target_spacing(fingerprint: Fingerprint) -> Spacing:
    """Median spacing; along a coarse axis of few slices the 10th percentile, but no finer than the other axes.

    The median of anisotropic data would interpolate away the slices of the finer cases.
    """
    target = np.median(fingerprint.spacings, axis=0)
    shape = np.median(fingerprint.shapes, axis=0)
    coarse = int(target.argmax())
    others = [axis for axis in range(3) if axis != coarse]
    coarsest_other = target[others].max()
    if target[coarse] > ANISOTROPIC * coarsest_other and shape[coarse] * ANISOTROPIC < shape[others].min():
        target[coarse] = max(np.percentile(fingerprint.spacings[:, coarse], 10), coarsest_other)
    d, h, w = target.tolist()
    return d, h, w


def median_shape(fingerprint: Fingerprint, spacing: Spacing) -> Spacing:
    """Median number of voxels along each axis once all cases have this spacing, mm; halves occur."""
    d, h, w = np.median(np.rint(fingerprint.spacings / spacing * fingerprint.shapes), axis=0).tolist()
    return d, h, w


def first_patch(spacing: Spacing, median: Spacing) -> Spacing:
    """A patch larger than any GPU takes: as long in mm along every axis, but nowhere longer than the median case."""
    edge_mm = FIRST_EDGE * math.prod(spacing) ** (1 / 3)
    d, h, w = (min(float(round(edge_mm / mm)), n) for mm, n in zip(spacing, median, strict=True))
    return d, h, w


def topology(spacing: Spacing, patch_size: Sequence[float]) -> Topology:
    """Halves a patch level by level, and rounds it up to what the strides divide.

    Args:
        spacing: of the finest level, mm.
        patch_size: voxels wanted.

    Returns:
        The strides, and kernels of 1 along axes that are still much coarser than the finest, of 3 from then on.
    """
    mm, size = list(spacing), list(patch_size)
    strides: list[Triple] = []
    kernels: list[Triple] = []
    kernel = (1, 1, 1)
    while axes := _axes_to_halve(mm, size):
        kernel = _triple([3 if length / min(mm) < ALIKE else old for length, old in zip(mm, kernel, strict=True)])
        stride = _triple([2 if axis in axes else 1 for axis in range(3)])
        mm = [length * step for length, step in zip(mm, stride, strict=True)]
        size = [math.ceil(n / step) for n, step in zip(size, stride, strict=True)]
        strides.append(stride)
        kernels.append(kernel)
    whole = [math.ceil(n / step) * step for n, step in zip(patch_size, _multiple(strides), strict=True)]
    return Topology(_triple(whole), tuple(strides), (*kernels, (3, 3, 3)))


def _axes_to_halve(mm: Sequence[float], size: Sequence[float]) -> list[int]:
    """Axes that the next level halves; none at the lowest."""
    large = [axis for axis in range(3) if size[axis] >= 2 * SMALLEST_MAP]
    axes = [axis for axis in large if mm[axis] / min(mm[other] for other in large) < ALIKE]
    # One axis alone is not worth a level unless it has some voxels to spare.
    return [] if len(axes) == 1 and size[axes[0]] < 3 * SMALLEST_MAP else axes


def _shrunk(found: Topology, spacing: Spacing, median: Spacing) -> Topology | None:
    """The next smaller patch, along the axis that covers most of the median case; None where it cannot shrink."""
    patch = list(found.patch_size)
    able = [axis for axis in range(3) if patch[axis] - found.multiple[axis] >= SMALLEST_MAP]
    if not able:
        return None
    axis = max(able, key=lambda axis: (patch[axis] / median[axis], axis))
    tried = [n - found.multiple[axis] * (k == axis) for k, n in enumerate(patch)]
    # With a smaller patch there may be fewer halvings, and so a finer step.
    patch[axis] -= topology(spacing, tried).multiple[axis]
    return topology(spacing, patch)


def _multiple(strides: Sequence[Triple]) -> Triple:
    return _triple([math.prod(stride[axis] for stride in strides) for axis in range(3)])


def _triple(values: Sequence[int]) -> Triple:
    d, h, w = values
    return d, h, w
