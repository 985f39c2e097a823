"""An adversarial training on noisy discs; every training takes fractions of a second."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from monai.losses import DiceLoss
from torch import nn
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import ConstantLR
from torch.utils.data import DataLoader, DistributedSampler

from kidney_lab.losses.difficulty import DifficultyLoss
from kidney_lab.methods.adversarial import AdversarialSegmentation
from kidney_lab.methods.discriminators import Discriminators
from kidney_lab.methods.output import build_output
from kidney_lab.methods.supervised import SupervisedSegmentation
from kidney_lab.networks.confidence_discriminator import ConfidenceDiscriminator
from kidney_lab.networks.msalds_unet import MSALDSUNet

OUTPUT = build_output("regions", labels=["tumor"], regions=["tumor"])
NESTED = build_output("regions", labels=["kidney", "tumor"], regions=["kidney_and_mass", "tumor"])
ADAM, CONSTANT = partial(Adam, lr=1e-2), partial(ConstantLR, factor=1.0)
PLAIN = {"adversarial": "none", "difficulty": False, "deep_supervision": False}


def sample(seed: int) -> dict:
    """A disc of 2 in a ring of 1, somewhere on 16 x 16 pixels; what shows in the noise is the disc."""
    chance = torch.Generator().manual_seed(seed)
    row, column = torch.randint(5, 11, (2,), generator=chance)
    h, w = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    squared = (h - row) ** 2 + (w - column) ** 2
    disc, ring = squared < 16, squared < 25
    image = disc + 0.3 * torch.randn(16, 16, generator=chance)
    return {"image": image[None].float(), "label": disc[None].to(torch.uint8) + ring[None].to(torch.uint8)}


def batch(*seeds: int) -> dict:
    samples = [sample(seed) for seed in seeds]
    return {key: torch.stack([one[key] for one in samples]) for key in ("image", "label")}


def loaders(batches: int = 3) -> dict:
    case = {name: value[:, None] for name, value in sample(92).items()} | {"case": "case_00092"}
    return {
        "train_dataloaders": DataLoader([sample(k) for k in range(2 * batches)], batch_size=2),
        "val_dataloaders": [DataLoader([sample(90), sample(91)], batch_size=2), DataLoader([case], batch_size=None)],
    }


def predict_case(module: SupervisedSegmentation, image: torch.Tensor, prior: None) -> SimpleNamespace:
    """What a stage predicts, slice by slice."""
    probabilities = module.infer(image.movedim(1, 0)).movedim(0, 1)
    return SimpleNamespace(labels=lambda decide: decide(probabilities))


def network(deep_supervision: bool = True, norm: str = "batch", out_channels: int = 1) -> nn.Module:
    torch.manual_seed(0)
    return MSALDSUNet(
        out_channels=out_channels,
        channels=(4, 4, 8),
        dilations=(1, 2),
        se_ratio=4,
        deep_supervision=deep_supervision,
        norm=norm,
    )


def module(
    *,
    deep_supervision=True,
    norm="batch",
    optimizer=ADAM,
    discriminator_optimizer=ADAM,
    scheduler=CONSTANT,
    adversarial="multi_scale",
    scale="full",
    gradient_clip_val=None,
    accumulate_grad_batches=1,
    output=OUTPUT,
    **loss,
) -> AdversarialSegmentation:
    made = network(deep_supervision, norm, output.channels)
    torch.manual_seed(1)
    learned = AdversarialSegmentation(
        network=made,
        loss=DifficultyLoss(dice=DiceLoss(sigmoid=True), **loss),
        optimizer=optimizer,
        scheduler=scheduler,
        output=output,
        discriminators=partial(
            Discriminators,
            network=partial(ConfidenceDiscriminator, in_channels=1 + output.channels),
            channels=(2, 4, 4),
            adversarial=adversarial,
            scale=scale,
        ),
        discriminator_optimizer=discriminator_optimizer,
        gradient_clip_val=gradient_clip_val,
        accumulate_grad_batches=accumulate_grad_batches,
    )
    learned.predict_case = partial(predict_case, learned)
    return learned


def trainer(folder, *, epochs=1, callbacks=(), logger=False, **settings) -> pl.Trainer:
    given = {"accelerator": "cpu", "devices": 1, "enable_checkpointing": bool(callbacks)} | settings
    return pl.Trainer(
        max_epochs=epochs,
        default_root_dir=folder,
        logger=logger,
        callbacks=list(callbacks),
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        **given,
    )


def weights(module: nn.Module) -> dict:
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(left: dict, right: dict) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def moved(before: dict, module: nn.Module) -> float:
    """Distance that the weights have gone."""
    steps = [(value - before[name]).square().sum() for name, value in module.named_parameters()]
    return float(torch.stack(steps).sum().sqrt().detach())


class DiceAndCrossEntropy(nn.Module):
    """Averaged over levels, each enlarged to the target's size."""

    def forward(self, logits, target):
        levels = [logits] if isinstance(logits, torch.Tensor) else logits
        return torch.stack([self.of_level(level, target) for level in levels]).mean()

    def of_level(self, logits, target):
        if logits.shape != target.shape:
            logits = F.interpolate(logits, size=target.shape[2:], mode="bilinear", align_corners=False)
        return DiceLoss(sigmoid=True)(logits, target) + nn.BCEWithLogitsLoss()(logits, target)


class Shared(pl.LightningDataModule):
    """Twelve samples, shared out evenly and in order."""

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.batch_size = batch_size

    def train_dataloader(self) -> DataLoader:
        samples = [sample(k) for k in range(12)]
        sampler = DistributedSampler(samples, self.trainer.world_size, self.trainer.global_rank, shuffle=False)
        return DataLoader(samples, batch_size=self.batch_size, sampler=sampler)


def fit_shared(folder: Path, *, batch_size: int, accumulate_grad_batches: int = 1, **settings) -> dict:
    """Trains on the twelve samples and keeps the weights."""
    sgd = {"optimizer": partial(SGD, lr=0.5), "discriminator_optimizer": partial(SGD, lr=0.5)}
    learned = module(**sgd, norm="instance", accumulate_grad_batches=accumulate_grad_batches)
    run = trainer(folder, limit_val_batches=0, use_distributed_sampler=False, **settings)
    run.fit(learned, datamodule=Shared(batch_size))
    return weights(learned)
