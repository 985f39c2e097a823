"""Training of ERNet's refit: one pass over training slices that gathers pixels, and Algorithm 3 over them at its end.

Xue et al., "ERNet", Traitement du Signal 42(4), 2025, section 3.2.4. The abstract says that ERNet "retrains the model",
the section that it trains the small networks alone: Mask R-CNN stays as the stage before has left it.
"""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any, cast

import torch
from pytorch_lightning.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import SGD
from torch.optim.lr_scheduler import ConstantLR

from kidney_lab.data.instances import DETECTED
from kidney_lab.methods.output import Output
from kidney_lab.methods.refit import SoftmaxRefit
from kidney_lab.methods.refit_pixels import PixelReservoir, RoiPixels
from kidney_lab.methods.supervised import Batch, SupervisedSegmentation
from kidney_lab.networks.ernet import ERNet, RoiMaps, grey_values, region_masks
from kidney_lab.networks.slice_rois import largest_by_class
from kidney_lab.process_group import of_all, place


class SoftmaxRefitSegmentation(SupervisedSegmentation):
    """Fits the refits of an ERNet to the pixels of training RoIs; validates and predicts as its parent.

    One epoch: every batch adds pixels, and the last one fits. Logged besides what the parent logs, by region: the error
    that the descent ends with (`train/error_<region>`) and began with (`train/first_error_<region>`), and the share of
    the reference's border in RoIs that has no heat (`train/border_without_heat_<region>`), which no refit can tell from
    the background. `val_patch/loss` is half the mean squared error of the new probabilities over whole slices,
    `val_patch/loss_before` that of the detector's own.

    Several ranks gather what each has kept, and all fit alike; `max_pixels` is their sum, shared evenly.

    Args:
        network: whose refits are fitted.
        output: of the regions `kidney_and_mass` and `tumor`.
        max_pixels: of a class that are fitted to, see `PixelReservoir`.
        seed: of their choice.

    Raises:
        InputError: there is no room for pixels.
    """

    network: ERNet

    def __init__(self, *, network: ERNet, output: Output, max_pixels: int = 2_000_000, seed: int = 0) -> None:
        super().__init__(
            network=network,
            loss=nn.MSELoss(),
            optimizer=partial(SGD, lr=_refits(network)[0].rate),
            scheduler=partial(ConstantLR, factor=1.0),
            output=output,
        )
        self.automatic_optimization = False
        self.max_pixels = max_pixels
        self.seed = seed
        self._start()

    def load_contained(self, state: Mapping[str, Tensor]) -> None:
        """Takes the weights of the trained detector.

        Args:
            state: of the stage that trained it.
        """
        own = {name.removeprefix("network."): value for name, value in state.items() if name.startswith("network.")}
        self.network.detector.load_state_dict(own)

    def record(self) -> dict[str, Any]:
        """Which regions were fitted; the others keep the detector's probabilities."""
        return {"fitted": {refit.region: bool(refit.fitted) for refit in _refits(self.network)}}

    def on_train_epoch_start(self) -> None:
        """Forgets the pixels of an epoch that was interrupted."""
        super().on_train_epoch_start()
        self._start()

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds the pixels of a batch's RoIs; after the last batch, fits."""
        self.gather(batch)
        if self.trainer.is_last_batch:
            self.log_loss(self.fit(), len(batch["image"]))
            self._count_step()

    @torch.no_grad()
    def gather(self, batch: Batch) -> None:
        """Adds the pixels of a batch's RoIs.

        Args:
            batch: `image` `(B, C, H, W)`, `label` `(B, 1, H, W)`, and the `case` of every slice.
        """
        rois = self.network.rois(batch["image"], batch["label"])
        for case, found, image, label in zip(batch["case"], rois, batch["image"], batch["label"][:, 0], strict=True):
            grey, masks = grey_values(image), region_masks(label)
            for number, region in enumerate(DETECTED, start=1):
                where = found.inside & (found.labels == number)[:, None, None]
                pixels = (found.probability, found.heat, grey.expand_as(where), masks[number - 1].expand_as(where))
                self.reservoirs[region].add(case, RoiPixels(*(plane[where] for plane in pixels)))
                border = _border(masks[number - 1]) & where.any(dim=0)
                cold = border & (found.heat * where).sum(dim=0).eq(0)
                self._border.update({(region, "all"): int(border.sum()), (region, "cold"): int(cold.sum())})

    def fit(self) -> Tensor:
        """Fits every class to the pixels of all ranks.

        Returns:
            The error that the descents end with, averaged over the classes; 0 where there was nothing to learn.
        """
        ends = [torch.zeros((), device=self.device)]
        border = sum(of_all(self._border), Counter())  # what one rank tells of, all must tell of
        for refit in _refits(self.network):
            losses = refit.fit(_of_all_ranks(self.reservoirs[refit.region].sample()))
            if len(losses):
                ends.append(losses[-1].float())
                self._tell(f"error_{refit.region}", float(losses[-1]))
                self._tell(f"first_error_{refit.region}", float(losses[0]))
            if length := border[refit.region, "all"]:
                self._tell(f"border_without_heat_{refit.region}", border[refit.region, "cold"] / length)
        return torch.stack(ends[1:] or ends).mean()

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int) -> Tensor | None:
        """As the parent; tells of the slices (loader 0) the error of the detector as well."""
        if dataloader_idx > 0:
            return super().validation_step(batch, batch_idx, dataloader_idx)
        _, before, after = self.explain(batch["image"]).split(len(DETECTED), dim=1)
        target = self.output.target(batch["label"])
        errors = {"loss": self.loss(after, target) / 2, "loss_before": self.loss(before, target) / 2}
        values = {f"val_patch/{name}": error for name, error in errors.items()}
        self.log_dict(values, batch_size=len(target), sync_dist=True, add_dataloader_idx=False)
        return None

    def probabilities(self, scores: Tensor) -> Tensor:
        """New probabilities of the regions `(B, 2, H, W)`, which the network gives itself; 0 outside the RoIs."""
        return scores

    def explain(self, image: Tensor) -> Tensor:
        """What the refit sees of slices, and makes of it.

        Args:
            image: `(B, C, H, W)`, scaled as for training.

        Returns:
            `(B, 6, H, W)`, 0 to 1: heat, probability before and probability after, each of kidney region and tumor; 0
            outside the regions of interest.
        """
        with torch.no_grad():
            pairs = zip(self.network.rois(image), image, strict=True)
            return torch.stack([self._explained(rois, one) for rois, one in pairs])

    def _explained(self, rois: RoiMaps, image: Tensor) -> Tensor:
        maps = (rois.heat * rois.inside, rois.probability, self.network.reset(rois, image))
        return torch.cat([largest_by_class(own, rois.labels) for own in maps])

    def configure_optimizers(self) -> Any:
        """An optimizer that moves nothing: Algorithm 3 descends by itself, but Lightning counts steps by optimizers."""
        return self._optimization(self.optimizer, self.network.refits, "lr")

    def _start(self) -> None:
        _, ranks = place()
        self.reservoirs = {region: PixelReservoir(self.max_pixels // ranks, seed=self.seed) for region in DETECTED}
        self._border: Counter[tuple[str, str]] = Counter()

    def _tell(self, name: str, value: float) -> None:
        self.log(f"train/{name}", value, on_step=False, on_epoch=True, batch_size=1, sync_dist=True)

    def _count_step(self) -> None:
        """One step of the optimizer, which moves nothing, by gradients that are all 0.

        Without a step Lightning would save no checkpoint, and without gradients half precision would stumble.
        """
        for parameter in self.network.refits.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer = cast(LightningOptimizer, self.optimizers())
        optimizer.step()
        optimizer.zero_grad()


def _refits(network: ERNet) -> list[SoftmaxRefit]:
    return [module for module in network.refits if isinstance(module, SoftmaxRefit)]


def _border(mask: Tensor) -> Tensor:
    """Pixels `(H, W)` of a mask with one outside of it among their eight neighbours."""
    outside = F.max_pool2d((~mask).float()[None, None], kernel_size=3, stride=1, padding=1)[0, 0] > 0
    return mask & outside


def _of_all_ranks(pixels: RoiPixels) -> RoiPixels:
    """The pixels that all ranks have kept, in the order of the ranks."""
    return RoiPixels(*(torch.cat(column) for column in zip(*of_all(pixels), strict=True)))
