"""Training of a detector on slices: the stage `detector` of ERNet, and the row "Mask RCNN" of its Table 2.

Xue et al., "ERNet", Traitement du Signal 42(4), 2025, section 3.1; He et al., "Mask R-CNN", ICCV 2017,
doi:10.1109/ICCV.2017.322. What ERNet leaves open, and what was chosen:

- A pixel belongs to a region where the mask of any detection of it says so: of several, the largest probability counts.
- The learning rate rises evenly over the first steps, as in torchvision's own recipe (there 1000): from scratch, the
  losses of boxes are large at first.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics.detection import MeanAveragePrecision

from kidney_lab.data.instances import batch_instances
from kidney_lab.errors import InputError
from kidney_lab.losses.detection import DetectionLoss
from kidney_lab.methods.output import Output
from kidney_lab.methods.supervised import Batch, SupervisedSegmentation
from kidney_lab.networks.mask_activation import own_region, region_probabilities
from kidney_lab.networks.mask_rcnn import MaskRCNN
from kidney_lab.networks.slice_rois import largest_by_class, paste
from kidney_lab.networks.weights import load_weights

Found = dict[str, Tensor]
"""What a detector finds on a slice, see `MaskRCNN.forward`."""

_AVERAGE_PRECISION = {
    "bbox_map": "val_patch/box_ap",
    "bbox_map_50": "val_patch/box_ap_50",
    "segm_map": "val_patch/mask_ap",
    "segm_map_50": "val_patch/mask_ap_50",
}


class DetectionSegmentation(SupervisedSegmentation):
    """Trains Mask R-CNN on slices; validates and predicts as its parent, by the masks laid on the slice.

    Logged besides what the parent logs: each loss (`train/loss_mask`, ...), and on the fixed validation slices COCO's
    average precision of boxes and masks over IoU 0.5 to 0.95 (`val_patch/box_ap`, `val_patch/mask_ap`) and at 0.5
    (`..._50`), averaged over the classes; only detections that pass the network's threshold count, so that it stays
    below that of detectors which keep all.

    Args:
        network: of slices `(B, C, H, W)`.
        loss: of its losses.
        optimizer: partial, lacks the parameters.
        scheduler: partial, lacks the optimizer; stepped once an epoch.
        output: of the regions `kidney_and_mass` and `tumor`.
        weights: that a training starts from: `none`, `imagenet`, `coco`, or a file, see `kidney_lab.networks.weights`.
        warmup_steps: over which the learning rate rises to the optimizer's; 0: from the first step on.
        min_pixels: of an 8-connected component of the reference on a slice that is an instance; smaller ones are left
            out.

    Raises:
        InputError: the loss is another one.
    """

    network: MaskRCNN

    def __init__(
        self,
        *,
        network: MaskRCNN,
        loss: nn.Module,
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., LRScheduler],
        output: Output,
        weights: str = "none",
        warmup_steps: int = 0,
        min_pixels: int = 16,
    ) -> None:
        super().__init__(network=network, loss=loss, optimizer=optimizer, scheduler=scheduler, output=output)
        self.weights = weights
        self.warmup_steps = warmup_steps
        self.min_pixels = min_pixels
        self.average_precision = MeanAveragePrecision(iou_type=("bbox", "segm"))

    def check_loss(self, loss: nn.Module) -> None:
        """Makes sure that the loss is one of a detector.

        Raises:
            InputError: it is another one.
        """
        if not isinstance(loss, DetectionLoss):
            raise InputError(f"{type(loss).__name__} is no loss of a detector: choose loss=mask_rcnn.")

    def load_pretrained(self) -> None:
        """Loads the weights that the training starts from.

        Raises:
            InputError: a file is missing, unreadable, or of another network.
        """
        load_weights(self.network, self.weights)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of one batch of slices."""
        size = len(batch["image"])
        losses = self._losses(batch)
        loss: Tensor = self.loss(losses)
        self.log_loss(loss.detach(), size)
        parts = {f"train/{name}": value.detach() for name, value in losses.items()}
        self.log_dict(parts, on_step=False, on_epoch=True, batch_size=size)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int) -> Tensor | None:
        """As the parent; gathers what is found on the slices (loader 0) for the average precision."""
        if dataloader_idx == 0:
            found = [detected(one, batch["image"].shape[-2:], self.network) for one in self(batch["image"])]
            self.average_precision.update(found, [_wanted(one) for one in self._instances(batch)])
        return super().validation_step(batch, batch_idx, dataloader_idx)

    def on_validation_epoch_end(self) -> None:
        """Logs the average precision of all ranks' slices, undefined without any instance, and as the parent."""
        values = self.average_precision.compute()
        self.average_precision.reset()
        for name, shown in _AVERAGE_PRECISION.items():
            self.log(shown, torch.nan if values[name] < 0 else values[name])
        super().on_validation_epoch_end()

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Steps, in the beginning at a part of the learning rate."""
        share = min(1.0, (self.trainer.global_step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        with _slowed(optimizer.param_groups, share):
            super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)

    def _loss(self, batch: Batch) -> Tensor:
        """Loss of the same boxes whenever it is asked for: which of them are sampled is drawn anew otherwise."""
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(0)
            value: Tensor = self.loss(self._losses(batch))
        return value

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        return self.network.losses(batch["image"], self._instances(batch))

    def _instances(self, batch: Batch) -> list[Found]:
        return batch_instances(batch["label"], min_pixels=self.min_pixels)

    def scores(self, image: Tensor) -> Tensor:
        """Probabilities of the regions on slices `(B, C, H, W)`: `(B, 2, H, W)`, 0 where nothing is found."""
        size = image.shape[-2], image.shape[-1]
        found: list[Found] = self(image)
        return torch.stack([region_maps(one, size, self.network) for one in found])

    def probabilities(self, scores: Tensor) -> Tensor:
        """The scores, which are probabilities already."""
        return scores


def region_maps(found: Found, size: tuple[int, int], network: MaskRCNN) -> Tensor:
    """Probabilities of the regions on a slice: of its detections, the largest.

    Args:
        found: on the slice.
        size: of the slice, `(H, W)`.
        network: that found it.

    Returns:
        `(2, H, W)`, 0 to 1; 0 where nothing is found.
    """
    return largest_by_class(_masks(found, size, network), found["labels"])


def detected(found: Found, size: Sequence[int], network: MaskRCNN) -> Found:
    """Detections as torchmetrics takes them: `boxes`, `scores`, `labels`, and `masks` bool `(N, H, W)`."""
    masks = _masks(found, (size[0], size[1]), network) > 0.5
    return {**{name: found[name] for name in ("boxes", "scores", "labels")}, "masks": masks}


def _masks(found: Found, size: tuple[int, int], network: MaskRCNN) -> Tensor:
    """Probability `(N, H, W)` that each detection's mask gives to the pixels of the slice."""
    probabilities = region_probabilities(found["mask_logits"], network.mask_activation)
    return paste(own_region(probabilities, found["labels"]), found["boxes"], size)[:, 0]


def _wanted(target: Found) -> Found:
    return {**target, "masks": target["masks"].bool()}


@contextmanager
def _slowed(groups: list[dict[str, Any]], share: float) -> Iterator[None]:
    """Lowers the learning rates for one step."""
    rates = [group["lr"] for group in groups]
    for group, rate in zip(groups, rates, strict=True):
        group["lr"] = rate * share
    try:
        yield
    finally:
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate
