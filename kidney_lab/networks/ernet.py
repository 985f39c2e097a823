"""ERNet: a trained Mask R-CNN that looks at its regions of interest (RoIs) again, and resets the probabilities there.

Xue et al., "Addressing boundary ambiguity in renal tumor segmentation" (ERNet), Traitement du Signal 42(4), 2025,
section 3.2. Of every box: the probability of its pixels (Algorithm 2), their heat by Seg-Grad-CAM (Eqs. 1 and 2), and
from both, by a small network per class that was fitted to the training cases (Algorithm 3), a new probability.

What the paper leaves open or contradicts, and what was chosen:
- Eq. 2 confines the heat to the pixels that the reference gives to the class, which nothing knows at inference: heat is
  confined to the RoI alone (`support`). Likewise M of Eq. 1 is the pixels predicted as the class (`pixels`).
- Line 10 of Algorithm 1 multiplies the RoI by the predicted mask, which deletes what the mask has missed: the box alone
  is the RoI (`roi_mask`).
- A larger RoI, or none, is what the mask branch then looks into (`roi_scale`), in training and inference alike.
- Pixels outside all RoIs of a class are background; of several RoIs the largest output counts.
"""

from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from kidney_lab.data.instances import DETECTED
from kidney_lab.errors import InputError
from kidney_lab.labels import REGIONS
from kidney_lab.networks.mask_activation import own_region, region_logits
from kidney_lab.networks.mask_rcnn import Layer, MaskRCNN
from kidney_lab.networks.seg_grad_cam import differentiable_logits, heatmaps
from kidney_lab.networks.slice_rois import check_scale, largest_by_class, paste, roi_pixels, scale_boxes

Pixels = Literal["predicted", "reference"]
Support = Literal["roi", "reference"]


class RoiMaps(NamedTuple):
    """The N RoIs of a slice, on its pixels.

    Args:
        labels: `(N,)`, class of each: kidney region (1) or tumor (2).
        inside: bool `(N, H, W)`, the pixels of each.
        probability: `(N, H, W)`, of its class, 0 to 1.
        heat: `(N, H, W)`, 0 to 1.
    """

    labels: Tensor
    inside: Tensor
    probability: Tensor
    heat: Tensor


class ERNet(nn.Module):
    """Mask R-CNN, frozen, and a refit of its softmax for each class.

    Args:
        detector: that is looked into; its weights learn nothing here.
        refits: of the kidney region and of the tumor: modules from the probability, heat and grey value of pixels to
            their new probability.
        layer: of the mask branch, whose activations explain its logits.
        pixels: the set M of Eq. 1 in training: those `predicted` as the class, or of the `reference`.
        support: what may have heat in training: the pixels of the `roi`, or Eq. 2 as printed, the `reference`.
        roi_scale: of the boxes: 1 (as found), 1.5, or infinity (the whole slice).
        roi_mask: take line 10 of Algorithm 1 as printed: the RoI is the predicted mask.

    Raises:
        InputError: an argument is out of range.
    """

    def __init__(
        self,
        *,
        detector: MaskRCNN,
        refits: Sequence[nn.Module],
        layer: Layer = "mask_head.3",
        pixels: Pixels = "predicted",
        support: Support = "roi",
        roi_scale: float = 1.0,
        roi_mask: bool = False,
    ) -> None:
        super().__init__()
        for key, value, allowed in (("layer", layer, Layer), ("pixels", pixels, Pixels), ("support", support, Support)):
            if value not in get_args(allowed):
                raise InputError(f"model.heatmap.{key}={value} is unknown: choose {' or '.join(get_args(allowed))}.")
        check_scale(roi_scale)
        self.detector = detector.requires_grad_(False)
        self.refits = nn.ModuleList(refits)
        self.layer: Layer = layer
        self.pixels = pixels
        self.support = support
        self.roi_scale = roi_scale
        self.roi_mask = roi_mask

    def forward(self, image: Tensor) -> Tensor:
        """New probabilities of the regions.

        Args:
            image: `(B, C, H, W)`, 0 to 1.

        Returns:
            `(B, 2, H, W)` of kidney region and tumor, 0 to 1; 0 outside the RoIs.
        """
        if image.is_meta:  # shapes alone, by which FLOPs are counted: the refits' are not worth it
            self.detector(image)
            return image.new_empty(len(image), len(DETECTED), *image.shape[2:])
        pairs = zip(self.rois(image), image, strict=True)
        return torch.stack([largest_by_class(self.reset(rois, one), rois.labels) for rois, one in pairs])

    def rois(self, image: Tensor, label: Tensor | None = None) -> list[RoiMaps]:
        """Finds the RoIs of every slice, and looks into them.

        Args:
            image: `(B, C, H, W)`, 0 to 1.
            label: `(B, 1, H, W)` label values of training slices, for what is taken from the reference; None at
                inference: then nothing is.

        Returns:
            The RoIs of each slice; there may be none.
        """
        size = (image.shape[-2], image.shape[-1])
        pyramid = self.detector.pyramid(image)
        found = self.detector.detect(pyramid)
        boxes = [scale_boxes(one["boxes"], size, self.roi_scale) for one in found]
        labels = [one["labels"] for one in found]
        counts = [len(own) for own in boxes]
        regions = None if label is None else [region_masks(one) for one in label[:, 0]]
        head = partial(self.detector.mask_logits, layer=self.layer)
        activations = self.detector.mask_activations(pyramid, boxes, self.layer)
        leaf, logits = differentiable_logits(activations, lambda maps: self._region_logits(head(maps)))
        every = torch.cat(labels)
        probability = own_region(logits.detach().sigmoid(), every)[:, 0]
        chosen = probability > 0.5
        if regions is not None and self.pixels == "reference":
            chosen = _in_boxes(regions, boxes, labels, (probability.shape[-2], probability.shape[-1]))
        heat = heatmaps(leaf, logits, every - 1, chosen)
        maps = torch.stack([probability, heat], dim=1).split(counts)
        pasted = [paste(own, box, size) for own, box in zip(maps, boxes, strict=True)]
        result = []
        for number, (box, own) in enumerate(zip(boxes, pasted, strict=True)):
            rois = RoiMaps(labels[number], roi_pixels(box, size), own[:, 0], own[:, 1])
            if self.roi_mask:
                rois = rois._replace(inside=rois.inside & (rois.probability > 0.5))
            if regions is not None and self.support == "reference":
                rois = rois._replace(heat=rois.heat * regions[number][rois.labels - 1])
            result.append(rois)
        return result

    def reset(self, rois: RoiMaps, image: Tensor) -> Tensor:
        """Resets the probabilities of the pixels of the RoIs.

        Args:
            rois: of a slice.
            image: the slice, `(C, H, W)`.

        Returns:
            `(N, H, W)`, 0 to 1; 0 outside of each RoI.
        """
        result = torch.zeros_like(rois.probability)
        grey = grey_values(image).expand_as(result)
        for number, refit in enumerate(self.refits, start=1):
            where = rois.inside & (rois.labels == number)[:, None, None]
            if where.any():
                result[where] = refit(rois.probability[where], rois.heat[where], grey[where])
        return result

    def _region_logits(self, logits: Tensor) -> Tensor:
        return region_logits(logits, self.detector.mask_activation)


def grey_values(image: Tensor) -> Tensor:
    """The slice itself, `(H, W)`, of a slice with its neighbours, `(C, H, W)`."""
    return image[len(image) // 2]


def region_masks(label: Tensor) -> Tensor:
    """Where a slice of label values `(H, W)` holds each region that is detected, bool `(2, H, W)`."""
    values = [label.new_tensor(REGIONS[region]) for region in DETECTED]
    return torch.stack([torch.isin(label, held) for held in values])


def _in_boxes(
    regions: Sequence[Tensor], boxes: Sequence[Tensor], labels: Sequence[Tensor], size: tuple[int, int]
) -> Tensor:
    """Which cells of every box the reference gives to the box's class, by the pixel at the middle of each cell.

    Args:
        regions: of every slice, see `region_masks`.
        boxes: of every slice, `(N_i, 4)`.
        labels: of every slice, `(N_i,)`.
        size: cells of a box, `(h, w)`.

    Returns:
        bool `(N, *size)`, of all slices' boxes in a row.
    """
    found = []
    for masks, own, classes in zip(regions, boxes, labels, strict=True):
        rows, columns = (
            (torch.arange(n, device=own.device) + 0.5) / n * (own[:, stop, None] - own[:, start, None])
            + own[:, start, None]
            for n, start, stop in ((size[0], 1, 3), (size[1], 0, 2))
        )
        h, w = masks.shape[1:]
        y, x = rows.round().long().clamp(0, h - 1), columns.round().long().clamp(0, w - 1)
        found.append(masks[(classes - 1)[:, None, None], y[:, :, None], x[:, None, :]])
    return torch.cat(found)
