"""The discriminators of an adversarial training: which decoder levels have one, and at which size each of them looks.

Zheng et al., "Multi-scale adversarial learning and difficult supervision for kidney and kidney tumor segmentation
methods", BMVC 2022, section 2.2 and Figure 2: one discriminator per decoder level ("multiple discriminators"), each of
which judges image and mask together; the paper's baseline has one on the last level alone.

What the paper leaves open, and what was chosen:
- Size: the output is "H x W x 1", so that every level's logits are enlarged to the image's size (`scale="full"`). The
  other reading, `native`, keeps the level's own size and shrinks image and reference to it by averaging; there every
  discriminator has one halving less than the one of the finer level, since its input is half as large.
- They share no weights.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kidney_lab.errors import InputError
from kidney_lab.losses.adversarial import DiscriminatorLoss

Adversarial = Literal["none", "last", "multi_scale"]
Scale = Literal["full", "native"]


class Level(NamedTuple):
    """What one decoder level is supervised with, all of one size.

    Args:
        image: `(B, C, [D,] H, W)`, scaled as for training.
        logits: `(B, K, [D,] H, W)` of the segmentation network, float32.
        target: `(B, K, [D,] H, W)`, 0 to 1.
    """

    image: Tensor
    logits: Tensor
    target: Tensor


class Discriminators(nn.Module):
    """The discriminators of the decoder's levels, finest first.

    Args:
        levels: of the decoder that are supervised.
        network: makes a discriminator of a given `channels`, such as a partial `ConfidenceDiscriminator`.
        channels: of a discriminator of the image's size, finest first.
        adversarial: which levels have a discriminator: `none`, the `last` (finest) or every one (`multi_scale`).
        scale: size of what a level is compared at: the image's (`full`) or the level's own (`native`).
        label_smoothing: see `kidney_lab.losses.adversarial.discriminator_loss`.

    Raises:
        InputError: there is no such choice, or one of the networks cannot be made.
    """

    def __init__(
        self,
        *,
        levels: int,
        network: Callable[..., nn.Module],
        channels: Sequence[int],
        adversarial: Adversarial = "multi_scale",
        scale: Scale = "full",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        for key, value, known in (
            ("adversarial", adversarial, get_args(Adversarial)),
            ("discriminator.scale", scale, get_args(Scale)),
        ):
            if value not in known:
                raise InputError(f"model.{key}={value} is unknown: choose one of {', '.join(known)}.")
        count = {"none": 0, "last": 1, "multi_scale": levels}[adversarial]
        self.networks = nn.ModuleList(
            network(channels=channels[: len(channels) - level] if scale == "native" else channels)
            for level in range(count)
        )
        self.scale: Scale = scale
        self.loss = DiscriminatorLoss(label_smoothing)

    def __len__(self) -> int:
        """Number of levels, counted from the finest, that have a discriminator."""
        return len(self.networks)

    def forward(self, level: int, image: Tensor, mask: Tensor) -> Tensor:
        """Confidence of a level's discriminator.

        Args:
            level: 0 is the finest.
            image: `(B, C, [D,] H, W)`.
            mask: `(B, K, [D,] H, W)`, a reference or a prediction, 0 to 1.

        Returns:
            `(B, 1, [D,] H, W)` logits, float32.
        """
        logits: Tensor = self.networks[level](torch.cat([image, mask.to(image.dtype)], dim=1))
        return logits.float()


def supervised_levels(network: nn.Module) -> int:
    """Number of logits that a network gives in training: that of its `heads`, one where it has no such list."""
    heads = getattr(network, "heads", None)
    return len(heads) if isinstance(heads, nn.ModuleList) else 1


def at_scale(image: Tensor, logits: Sequence[Tensor], target: Tensor, scale: Scale) -> list[Level]:
    """Brings image, logits and reference of every decoder level to one size.

    Args:
        image: `(B, C, [D,] H, W)`.
        logits: of every level, finest first, each of its own size.
        target: `(B, K, [D,] H, W)`, of the image's size.
        scale: see `Discriminators`.

    Returns:
        The levels, finest first; logits enlarged linearly, or image and target averaged over the level's pixels.
    """
    if scale == "native":
        return [Level(_averaged(image, level), level, _averaged(target, level)) for level in logits]
    return [Level(image, _enlarged(level, image), target) for level in logits]


def _enlarged(logits: Tensor, image: Tensor) -> Tensor:
    if logits.shape[2:] == image.shape[2:]:
        return logits
    mode = "bilinear" if image.ndim == 4 else "trilinear"
    return F.interpolate(logits, size=image.shape[2:], mode=mode, align_corners=False)


def _averaged(volume: Tensor, like: Tensor) -> Tensor:
    return volume if volume.shape[2:] == like.shape[2:] else F.interpolate(volume, size=like.shape[2:], mode="area")
