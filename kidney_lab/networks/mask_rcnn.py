"""Mask R-CNN on axial slices, by torchvision: the detector of ERNet, and the row "Mask RCNN" of its Table 2.

He et al., "Mask R-CNN", ICCV 2017, doi:10.1109/ICCV.2017.322. ERNet (Xue et al., "Addressing boundary ambiguity in
renal tumor segmentation", Traitement du Signal 42(4), 2025) gives ResNet-101 with a feature pyramid, slices of 512 x
512, RoI Align 7 x 7 and "anchor preset size 64" (sections 3.1 and 4.5). Left open, and chosen:

- "RoI Align 7 x 7" is that of the boxes; that of the masks is torchvision's 14 x 14 (`mask_roi_size`).
- "Anchor size 64" is taken literally, 64 pixels at every level of the pyramid (`anchor_sizes`).
- Slices are never resized: sides that are no multiple of 32 are padded with 0, as torchvision pads a batch.
- The normalization, see `fpn_backbone`; images are normalized as those of ImageNet where its statistics are frozen.

The parts (`backbone`, `rpn`, `roi_heads`) and the names of their weights are torchvision's. What stands here is how
they work together, because ERNet looks into the mask branch of boxes that it chooses itself.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import detection
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import fastrcnn_loss
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign

from kidney_lab.networks.fpn_backbone import Norm, fpn_backbone
from kidney_lab.networks.mask_activation import MaskActivation, Target, mask_loss
from kidney_lab.networks.mask_rcnn_settings import check_channels, check_ranges

Layer = Literal["mask_head.3", "conv5_mask"]
"""Layer of the mask branch whose activations explain its logits: the last 3x3 convolution, or the transposed one."""

_BEHIND: dict[Layer, int] = {"mask_head.3": 4, "conv5_mask": 6}  # of the mask branch's seven layers, ReLU included
_CLASSES = 3  # background, kidney region, tumor
_STRIDE = 32  # of the coarsest features that boxes are pooled from
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Pyramid(NamedTuple):
    """Features of a batch of slices.

    Args:
        levels: by name, finest first, `(B, channels, H / s, W / s)`, float32.
        images: the padded slices, and the sizes `(H, W)` that they had.
    """

    levels: dict[str, Tensor]
    images: ImageList


class MaskRCNN(nn.Module):
    """Mask R-CNN with two classes: kidney region (1) and tumor (2).

    Args:
        backbone: `resnet101` (the paper's), or a smaller one down to `resnet18`.
        in_channels: 1, repeated for the three that a ResNet takes, or 3.
        channels: of the pyramid and of the mask branch, a quarter of those of the box branch.
        norm: `frozen_batch` with pretrained weights, `group` without, see `fpn_backbone`.
        trainable_layers: parts of the ResNet that learn, see `fpn_backbone`.
        anchor_sizes: sizes in pixels for every level of the pyramid; torchvision's are 32, 64, 128, 256 and 512.
        mask_roi_size: cells that a box is pooled to for the mask branch, whose masks have twice as many.
        mask_activation: what the mask branch's logits mean, see `mask_activation`.
        box_score_thresh: least score of a detection.
        box_nms_thresh: of two detections of a class that overlap (IoU) by more, the worse goes.
        box_detections_per_img: most detections of a slice.
        box_batch_size_per_image: boxes of a slice that the box branch learns from, at most a quarter of them objects.
        rpn_top_n: proposals of a level that non-maximum suppression sees, and of a slice that pass, in training and in
            inference.

    Raises:
        InputError: an argument is out of range.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        backbone: str = "resnet101",
        in_channels: int = 1,
        channels: int = 256,
        norm: Norm = "group",
        trainable_layers: int | None = None,
        anchor_sizes: Sequence[Sequence[int]] = ((64,),) * 5,
        mask_roi_size: int = 14,
        mask_activation: MaskActivation = "sigmoid",
        box_score_thresh: float = 0.5,
        box_nms_thresh: float = 0.5,
        box_detections_per_img: int = 20,
        box_batch_size_per_image: int = 512,
        rpn_top_n: tuple[int, int] = (2000, 1000),
    ) -> None:
        super().__init__()
        check_channels(in_channels)
        check_ranges(
            channels=channels,
            anchor_sizes=anchor_sizes,
            mask_roi_size=mask_roi_size,
            mask_activation=mask_activation,
            box_score_thresh=box_score_thresh,
            box_nms_thresh=box_nms_thresh,
            box_detections_per_img=box_detections_per_img,
            box_batch_size_per_image=box_batch_size_per_image,
            rpn_top_n=rpn_top_n,
        )
        self.backbone_name = backbone
        self.mask_activation: MaskActivation = mask_activation
        whole = detection.MaskRCNN(
            fpn_backbone(backbone, norm=norm, trainable_layers=trainable_layers, out_channels=channels),
            box_head=TwoMLPHead(channels * 7 * 7, 4 * channels),
            box_predictor=FastRCNNPredictor(4 * channels, _CLASSES),
            mask_head=MaskRCNNHeads(channels, (channels,) * 4, dilation=1),
            mask_predictor=MaskRCNNPredictor(channels, channels, _CLASSES),
            rpn_anchor_generator=_anchors(anchor_sizes),
            mask_roi_pool=MultiScaleRoIAlign(["0", "1", "2", "3"], output_size=mask_roi_size, sampling_ratio=2),
            rpn_pre_nms_top_n_train=rpn_top_n[0],
            rpn_pre_nms_top_n_test=rpn_top_n[1],
            rpn_post_nms_top_n_train=rpn_top_n[0],
            rpn_post_nms_top_n_test=rpn_top_n[1],
            box_score_thresh=box_score_thresh,
            box_nms_thresh=box_nms_thresh,
            box_detections_per_img=box_detections_per_img,
            box_batch_size_per_image=box_batch_size_per_image,
        )
        self.backbone, self.rpn, self.roi_heads = whole.backbone, whole.rpn, whole.roi_heads
        mean, std = (_IMAGENET_MEAN, _IMAGENET_STD) if norm == "frozen_batch" else ((0.0,) * 3, (1.0,) * 3)
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> list[dict[str, Tensor]]:
        """Finds kidney regions and tumors; in training mode too.

        Args:
            image: `(B, C, H, W)`, 0 to 1.

        Returns:
            For every slice `boxes` `(N, 4)`, corners `(x0, y0, x1, y1)` in pixels, whose centres are whole numbers,
            `labels` `(N,)`, 1 or 2, `scores` `(N,)`, falling, and `mask_logits` `(N, 3, h, w)` of background, kidney
            and tumor in the box. N may be 0.
        """
        pyramid = self.pyramid(image)
        if image.is_meta:  # shapes alone, by which FLOPs are counted
            return self._with_every_box(pyramid)
        found = self.detect(pyramid)
        boxes = [one["boxes"] for one in found]
        logits = self.mask_logits(self.mask_activations(pyramid, boxes)).split([len(one) for one in boxes])
        return [{**one, "mask_logits": own} for one, own in zip(found, logits, strict=True)]

    def losses(self, image: Tensor, targets: Sequence[Target]) -> dict[str, Tensor]:
        """The five losses of Mask R-CNN, whose sum is trained; outside of training mode too.

        Boxes are sampled at random: seed torch for losses that can be compared.

        Args:
            image: `(B, C, H, W)`, 0 to 1.
            targets: instances of every slice, see `kidney_lab.data.instances`.

        Returns:
            `loss_objectness`, `loss_rpn_box_reg`, `loss_classifier`, `loss_box_reg` and `loss_mask`.
        """
        heads, pyramid = self.roi_heads, self.pyramid(image)
        with _full_precision(image), _as_in_training(self.rpn):
            proposals, losses = self.rpn(pyramid.images, pyramid.levels, list(targets))
            boxes, matched, labels, offsets = heads.select_training_samples(proposals, list(targets))
            logits, deltas = self._box_branch(pyramid, boxes)
            losses["loss_classifier"], losses["loss_box_reg"] = fastrcnn_loss(logits, deltas, labels, offsets)
        objects = [found > 0 for found in labels]
        boxes = [every[chosen] for every, chosen in zip(boxes, objects, strict=True)]
        matched = [every[chosen] for every, chosen in zip(matched, objects, strict=True)]
        mask_logits = self.mask_logits(self.mask_activations(pyramid, boxes))
        losses["loss_mask"] = mask_loss(mask_logits, boxes, matched, targets, self.mask_activation)
        return dict(losses)

    def pyramid(self, image: Tensor) -> Pyramid:
        """Features of slices `(B, C, H, W)`, 0 to 1."""
        height, width = image.shape[-2:]
        normalized = (image.expand(-1, 3, -1, -1) - self.mean) / self.std
        padded = F.pad(normalized, (0, -width % _STRIDE, 0, -height % _STRIDE))
        levels = {name: level.float() for name, level in self.backbone(padded).items()}
        return Pyramid(levels, ImageList(padded, [(height, width)] * len(image)))

    def detect(self, pyramid: Pyramid) -> list[dict[str, Tensor]]:
        """`boxes`, `labels` and `scores` of every slice, see `forward`."""
        with _full_precision(pyramid.levels["0"]), _as_in_training(self.rpn, False):
            proposals, _ = self.rpn(pyramid.images, pyramid.levels)
            found = self.roi_heads.postprocess_detections(
                *self._box_branch(pyramid, proposals), proposals, pyramid.images.image_sizes
            )
        return [dict(zip(("boxes", "scores", "labels"), one, strict=True)) for one in zip(*found, strict=True)]

    def mask_activations(self, pyramid: Pyramid, boxes: Sequence[Tensor], layer: Layer = "mask_head.3") -> Tensor:
        """Activations of a layer of the mask branch, behind its ReLU.

        Args:
            pyramid: of the slices.
            boxes: `(N_i, 4)` of every slice, corners in pixels, as detected or any others.
            layer: of the mask branch.

        Returns:
            `(N, channels, h, w)` of all slices' boxes in a row; `mask_roi_size` cells a side, twice that for
            `conv5_mask`.
        """
        pooled = self.roi_heads.mask_roi_pool(pyramid.levels, list(boxes), pyramid.images.image_sizes)
        with _full_precision(pooled):
            activations: Tensor = self._mask_branch[: _BEHIND[layer]](pooled)
        return activations

    def mask_logits(self, activations: Tensor, layer: Layer = "mask_head.3") -> Tensor:
        """What the mask branch makes of activations, which may be a leaf that a gradient is wanted for.

        Args:
            activations: `(N, channels, h, w)`, see `mask_activations`.
            layer: that they are of.

        Returns:
            `(N, 3, h, w)` of background, kidney and tumor, twice `mask_roi_size` cells a side.
        """
        with _full_precision(activations):
            logits: Tensor = self._mask_branch[_BEHIND[layer] :](activations)
        return logits

    @property
    def _mask_branch(self) -> nn.Sequential:
        return nn.Sequential(*self.roi_heads.mask_head, *self.roi_heads.mask_predictor)

    def _box_branch(self, pyramid: Pyramid, boxes: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits `(N, 3)` of the classes of boxes, and how these should move for each, `(N, 12)`."""
        pooled = self.roi_heads.box_roi_pool(pyramid.levels, boxes, pyramid.images.image_sizes)
        logits, deltas = self.roi_heads.box_predictor(self.roi_heads.box_head(pooled))
        return logits, deltas

    def _with_every_box(self, pyramid: Pyramid) -> list[dict[str, Tensor]]:
        """Passes tensors without values through all layers, with as many boxes as there can be."""
        heads, slices = self.roi_heads, len(pyramid.images.image_sizes)
        self.rpn.head(list(pyramid.levels.values()))
        proposals, n = slices * self.rpn.post_nms_top_n(), heads.detections_per_img
        finest = pyramid.levels["0"]
        channels = finest.shape[1:2]
        heads.box_predictor(heads.box_head(finest.new_empty(proposals, *channels, *heads.box_roi_pool.output_size)))
        logits = self._mask_branch(finest.new_empty(slices * n, *channels, *heads.mask_roi_pool.output_size))
        shapes = {"boxes": (n, 4), "scores": (n,), "labels": (n,)}
        empty = {name: finest.new_empty(shape) for name, shape in shapes.items()}
        return [{**empty, "mask_logits": own} for own in logits.split(n)]


def _anchors(sizes: Sequence[Sequence[int]]) -> AnchorGenerator:
    return AnchorGenerator(tuple(tuple(level) for level in sizes), ((0.5, 1.0, 2.0),) * len(sizes))


@contextmanager
def _as_in_training(rpn: nn.Module, training: bool = True) -> Iterator[None]:
    """Lets the proposal network compute its losses, or not; it has no layer that training changes."""
    before, rpn.training = rpn.training, training
    try:
        yield
    finally:
        rpn.training = before


def _full_precision(like: Tensor) -> torch.autocast:
    """Boxes are computed in float32 whatever the trainer's precision: bfloat16 places them 2 pixels apart at 512."""
    return torch.autocast(like.device.type, enabled=False)
