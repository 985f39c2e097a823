"""Pure-PyTorch substitutes for torchvision's compiled operators `nms`, `qnms` and `roi_align`.

Registered by `import_hook` where the compiled ones do not load; nothing here runs beside a working torchvision. They
give the compiled operators' results, on any device, more slowly. torchvision's other compiled operators (`roi_pool`,
`ps_roi_align`, `ps_roi_pool`, `deform_conv2d`) stay missing and say so when called.

Sources: torchvision's `csrc/ops/cpu/nms_kernel.cpp` and `roi_align_kernel.cpp`, whose rounding and border rules are
kept; RoIAlign is from He et al., Mask R-CNN, ICCV 2017, section 3.
"""

import math
import sys
from functools import cache
from importlib import import_module

import numpy as np
import torch
from torch import Tensor
from torch.library import Library
from torch.nn import functional as F

_USERS = ("torchvision.ops.boxes", "torchvision.ops.roi_align")
"""torchvision's modules whose functions call the operators that are registered here."""

_ROWS = 256
"""Boxes whose overlaps with all others are computed at once: bounds the memory of `nms` to this many rows."""


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Greedy non-maximum suppression: drops each box that overlaps a kept box of higher score too much.

    Args:
        boxes: `(N, 4)`, corners `(x1, y1, x2, y2)`.
        scores: `(N,)`; of equal scores the earlier box goes first.
        iou_threshold: a box goes where its intersection over union is above this; an equal one stays.

    Returns:
        `(K,)` int64: indices of the kept boxes, by falling score.

    Raises:
        RuntimeError: the shapes are not `(N, 4)` and `(N,)`.
    """
    torch._check(boxes.dim() == 2 and boxes.size(1) == 4, lambda: f"boxes must be (N, 4), got {tuple(boxes.shape)}")
    torch._check(scores.shape == boxes.shape[:1], lambda: f"scores must be ({len(boxes)},), got {tuple(scores.shape)}")
    box_iou = import_module(_USERS[0]).box_iou
    # Box after box is sequential by nature: on the CPU, wherever the boxes lie.
    order = scores.detach().cpu().sort(descending=True, stable=True).indices
    ordered = boxes.detach().cpu()[order]
    kept = np.ones(len(ordered), dtype=np.bool_)
    for start in range(0, len(ordered), _ROWS):
        # Compared in double precision, as the compiled operator does; 0 / 0 of two empty boxes is above nothing.
        over = (box_iou(ordered[start : start + _ROWS], ordered[start:]).double() > iou_threshold).numpy()
        for row, overlaps in enumerate(over):
            if kept[start + row]:
                kept[start + row + 1 :] &= ~overlaps[row + 1 :]
    return order[torch.from_numpy(kept)].to(boxes.device)


def roi_align(
    input: Tensor,
    rois: Tensor,
    spatial_scale: float,
    pooled_height: int,
    pooled_width: int,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Mean of bilinear samples in every bin of every box; differentiable in the feature map, not in the boxes.

    A bin's value is a weighted sum of pixels, which is what `embedding_bag` computes, with each pixel's channels as
    one row of its table: forward and backward are compiled code, and no sample is ever stored with its channels.

    Args:
        input: `(B, C, H, W)` feature map.
        rois: `(K, 5)`: index into the batch, then corners `(x1, y1, x2, y2)` in image coordinates.
        spatial_scale: feature map pixels per image pixel.
        pooled_height: bins along H.
        pooled_width: bins along W.
        sampling_ratio: samples per bin along each axis; 0 or less: as many as the bin has pixels, rounded up.
        aligned: shifts the boxes by half a pixel, so that pixel centres lie at integers.

    Returns:
        `(K, C, pooled_height, pooled_width)`, of the input's dtype.

    Raises:
        RuntimeError: the shapes are not `(B, C, H, W)` and `(K, 5)`.
    """
    torch._check(input.dim() == 4, lambda: f"input must be (B, C, H, W), got {tuple(input.shape)}")
    torch._check(rois.dim() == 2 and rois.size(1) == 5, lambda: f"rois must be (K, 5), got {tuple(rois.shape)}")
    _, channels, height, width = input.shape
    features = input if input.dtype == torch.float64 else input.float()  # half precision cannot hold coordinates
    boxes = rois.detach().to(features.dtype)
    left, top, right, bottom = (boxes[:, 1:] * spatial_scale - (0.5 if aligned else 0.0)).unbind(1)
    smallest = -math.inf if aligned else 1.0
    rows, row_weights = _pixels_along_axis(
        top, bottom, bins=pooled_height, length=height, samples=sampling_ratio, smallest=smallest
    )
    columns, column_weights = _pixels_along_axis(
        left, right, bins=pooled_width, length=width, samples=sampling_ratio, smallest=smallest
    )
    # (K, bins along H, bins along W, pixels along H, pixels along W)
    pixels = rows[:, :, None, :, None] * width + columns[:, None, :, None, :]
    pixels = pixels + boxes[:, 0].long().view(-1, 1, 1, 1, 1) * (height * width)
    weights = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]
    table = features.permute(0, 2, 3, 1).reshape(-1, channels)
    bags = F.embedding_bag(
        pixels.flatten(0, 2).flatten(1), table, per_sample_weights=weights.flatten(0, 2).flatten(1), mode="sum"
    )
    return bags.view(len(boxes), pooled_height, pooled_width, channels).permute(0, 3, 1, 2).to(input.dtype).contiguous()


def _pixels_along_axis(
    start: Tensor, end: Tensor, *, bins: int, length: int, samples: int, smallest: float
) -> tuple[Tensor, Tensor]:
    """Pixels that each bin reads along one axis, and their weights in the bin's mean.

    Args:
        start: `(K,)` lower edge of every box, in pixels of the feature map.
        end: `(K,)` upper edge.
        bins: parts into which a box is cut.
        length: pixels of the feature map along the axis.
        samples: samples per bin; 0 or less for the pixels per bin, rounded up.
        smallest: least extent that a box is given, in pixels.

    Returns:
        Indices and weights, both `(K, bins, 2 * samples)`: the two pixels that every sample lies between.
    """
    bin_size = (end - start).clamp(min=smallest) / bins
    counts = torch.full_like(start, samples) if samples > 0 else bin_size.ceil()
    most = int(counts.clamp(min=1).max()) if counts.numel() else 1
    per_bin = counts.clamp(min=1).view(-1, 1, 1)
    bin_index = torch.arange(bins, device=start.device).view(1, -1, 1)
    sample = torch.arange(most, device=start.device).view(1, 1, -1)
    position = start.view(-1, 1, 1) + (bin_index + (sample + 0.5) / per_bin) * bin_size.view(-1, 1, 1)
    # A sample counts up to one pixel outside the map, with the border's value, and is zero beyond.
    counted = (sample < counts.view(-1, 1, 1)) & (position >= -1) & (position <= length)
    position = position.clamp(0, length - 1)
    low = position.floor()
    upper_share = position - low
    indices = torch.cat([low, (low + 1).clamp(max=length - 1)], dim=2).long()
    weights = torch.cat([1 - upper_share, upper_share], dim=2) * counted.repeat(1, 1, 2) / per_bin
    return indices, weights


@cache
def register() -> Library:
    """Registers the operators under torchvision's names and schemas, once.

    Returns:
        The library, which has to stay alive as long as the operators are used: the cache holds it.
    """
    # FRAGMENT, not DEF: a namespace has one DEF in a process, and it belongs to torchvision.
    library = Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.impl(name, nms, "CompositeExplicitAutograd")
    library.define(
        "roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height, SymInt pooled_width, "
        "int sampling_ratio, bool aligned) -> Tensor"
    )
    library.impl("roi_align", roi_align, "CompositeImplicitAutograd")
    return library


def announce() -> None:
    """Tells torchvision's functions that use the registered operators, and no others, that these are there."""
    for name in _USERS:
        vars(sys.modules[name]).update(_has_ops=lambda: True, _assert_has_ops=lambda: None)
