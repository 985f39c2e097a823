"""What the logits of Mask R-CNN's mask branch mean: probabilities of the two regions, and the loss that teaches them.

ERNet (Xue et al., "Addressing boundary ambiguity in renal tumor segmentation", Traitement du Signal 42(4), 2025)
takes pixel probabilities from a softmax (Algorithm 2: `e^z / sum(e^z)`, pixel by pixel, reshaped to the RoI). Over
which classes is left open, and the mask branch of Mask R-CNN (He et al., ICCV 2017, section 3), which it builds on, has
one sigmoid per class instead. Both readings are here:

- `sigmoid`, the default: every class is learned on the boxes of its own instances, against the background. This is a
  softmax too: over {class, background}, with the background's logit at 0.
- `softmax` over background, kidney and tumor: these exclude each other, so that the mask branch learns the label of
  every pixel in a box, whosever box it is; the kidney region is kidney or tumor. Torchvision's loss never trains the
  background's logit, hence a loss of its own.

Both come as log odds, whose sigmoid is the probability.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.detection.roi_heads import maskrcnn_loss
from torchvision.ops import roi_align

MaskActivation = Literal["sigmoid", "softmax"]
Target = dict[str, Tensor]
"""Instances of a slice, see `kidney_lab.data.instances`."""


def region_logits(logits: Tensor, activation: MaskActivation) -> Tensor:
    """Log odds of the kidney region and of the tumor.

    Args:
        logits: `(N, 3, h, w)` of background, kidney and tumor, one row per box.
        activation: how they were trained.

    Returns:
        `(N, 2, h, w)`; with `sigmoid` the classes' logits themselves.
    """
    if activation == "sigmoid":
        return logits[:, 1:]
    background, kidney, tumor = logits.unbind(1)
    return torch.stack([torch.logaddexp(kidney, tumor) - background, tumor - torch.logaddexp(background, kidney)], 1)


def region_probabilities(logits: Tensor, activation: MaskActivation) -> Tensor:
    """Probabilities `(N, 2, h, w)` of the kidney region and of the tumor, 0 to 1, see `region_logits`."""
    return region_logits(logits, activation).sigmoid()


def own_region(maps: Tensor, labels: Tensor) -> Tensor:
    """Takes of every box the map of the region that it was found as.

    Args:
        maps: `(N, 2, h, w)`, of the kidney region and of the tumor.
        labels: `(N,)`, 1 or 2.

    Returns:
        `(N, 1, h, w)`.
    """
    return maps[torch.arange(len(labels), device=labels.device), labels - 1][:, None]


def mask_loss(
    logits: Tensor,
    boxes: Sequence[Tensor],
    matched: Sequence[Tensor],
    targets: Sequence[Target],
    activation: MaskActivation,
) -> Tensor:
    """Cross-entropy of the mask branch, averaged over boxes and pixels; 0 where there are no boxes.

    Args:
        logits: `(N, 3, h, w)`, of the boxes of all slices in a row.
        boxes: of every slice, `(N_i, 4)`, corners in pixels.
        matched: of every slice, `(N_i,)`: the instance that each box is about.
        targets: instances of every slice.
        activation: `sigmoid` learns the matched instance alone, in the logit of its class; `softmax` learns the labels
            of all pixels in the box.

    Returns:
        Scalar.
    """
    if activation == "sigmoid":
        masks, labels = [t["masks"] for t in targets], [t["labels"] for t in targets]
        loss: Tensor = maskrcnn_loss(logits, list(boxes), masks, labels, list(matched))
        return loss
    if len(logits) == 0:
        return logits.sum() * 0
    pairs = zip(targets, boxes, strict=True)
    return F.cross_entropy(logits, torch.cat([label_shares(target, box, logits.shape[-1]) for target, box in pairs]))


def label_shares(target: Target, boxes: Tensor, size: int) -> Tensor:
    """How much of every cell of a box is background, kidney and tumor.

    Args:
        target: instances of the slice.
        boxes: `(N, 4)`, corners in pixels.
        size: cells along each side of a box.

    Returns:
        `(N, 3, size, size)`, adds up to 1 over the labels.
    """
    masks, labels = target["masks"], target["labels"]
    regions = torch.stack([(masks[labels == label] > 0).any(dim=0) for label in (1, 2)]).to(boxes.dtype)
    region, tumor = roi_align(regions[None], [boxes], (size, size)).unbind(1)
    region = torch.maximum(region, tumor)
    return torch.stack([1 - region, region - tumor, tumor], dim=1)
