"""The thesis' 3D U-Net: residual blocks in encoder and decoder, and deep supervision.

Hao, "cascade 3D U-Net" (master's thesis, University of Melbourne, 2024; paper 004), section 3.2 and Fig. 3.2: stride-2
convolutions down and transposed convolutions up, each followed by InstanceNorm and LeakyReLU, concatenated skips, and
losses L1 to L5 at several levels. The paper leaves open the number of levels and channels, the convolutions per block,
where the heads sit, and the initialisation; chosen are nnU-Net's, with one head at every decoder output.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from kidney_lab.errors import InputError
from kidney_lab.networks.blocks import ConvBlock, Triple, UpBlock, initialize_he

PerAxis = int | Sequence[int]
"""One number for every axis, or three in the order (D, H, W)."""


class ResidualUNet3d(nn.Module):
    """3D U-Net with residual blocks and heads at every decoder output.

    In training with deep supervision it returns a list of logits, finest first, each in its own level's size: 1, 1/2,
    ..., 1/16 for six levels. Else it returns the finest logits alone, and no lower head is computed. Switching
    `residual` or `deep_supervision` off leaves out weights; the others keep their names (level 0 is the finest).

    Args:
        in_channels: of the input.
        out_channels: of the logits.
        channels: of the features of every level, finest first; two levels or more.
        strides: from each level to the next coarser one, one fewer than `channels`; a number or (D, H, W) each.
        kernel_size: of the convolutions: an odd number, three (D, H, W), or a list with one of these for every level;
            three numbers are always (D, H, W).
        n_conv_per_stage: convolutions of every block.
        residual: whether blocks add their input, see `ConvBlock`.
        deep_supervision: whether there are heads below the finest.
        checkpointing: whether features inside blocks are computed again for the gradient instead of kept, which takes
            less memory and one more forward pass.

    Raises:
        InputError: if a number, a length or a switch is not as above.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: Sequence[int],
        strides: Sequence[PerAxis],
        *,
        kernel_size: PerAxis | Sequence[PerAxis] = 3,
        n_conv_per_stage: int = 2,
        residual: bool = True,
        deep_supervision: bool = True,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        _require_positive(in_channels=in_channels, out_channels=out_channels, n_conv_per_stage=n_conv_per_stage)
        _require_switches(residual=residual, deep_supervision=deep_supervision, checkpointing=checkpointing)
        steps = _stride_triples(strides, _checked_channels(channels))
        kernels = _kernel_triples(kernel_size, len(channels))
        self.encoder = nn.ModuleList(
            ConvBlock(inputs, outputs, kernel_size=kernel, stride=stride, n_conv=n_conv_per_stage, residual=residual)
            for inputs, outputs, kernel, stride in zip(
                (in_channels, *channels[:-1]), channels, kernels, ((1, 1, 1), *steps), strict=True
            )
        )
        self.decoder = nn.ModuleList(
            UpBlock(coarse, fine, stride=stride, kernel_size=kernel, n_conv=n_conv_per_stage, residual=residual)
            for fine, coarse, kernel, stride in zip(channels[:-1], channels[1:], kernels[:-1], steps, strict=True)
        )
        supervised = channels[:-1] if deep_supervision else channels[:1]
        self.heads = nn.ModuleList(nn.Conv3d(width, out_channels, kernel_size=1) for width in supervised)
        self.deep_supervision = deep_supervision
        self.checkpointing = checkpointing
        self.downsampling: Triple = tuple(map(math.prod, zip(*steps, strict=True)))  # type: ignore[assignment]
        self.apply(initialize_he)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Segments a patch.

        Args:
            x: `(B, in_channels, D, H, W)`; `downsampling` divides the size, and leaves more than one voxel.

        Returns:
            Logits `(B, out_channels, D, H, W)`, or a list of them, finest first, see the class.

        Raises:
            InputError: if the size is another.
        """
        self._check_size(tuple(x.shape[2:]))
        features = []
        for stage in self.encoder:
            x = self._run(stage, x)
            features.append(x)
        x = features.pop()
        every_level = self.deep_supervision and self.training
        logits: list[Tensor] = []
        for level in reversed(range(len(self.decoder))):
            x = self._run(self.decoder[level], x, features.pop())
            if every_level or level == 0:
                logits.insert(0, self.heads[level](x))
        return logits if every_level else logits[0]

    def _run(self, stage: nn.Module, *inputs: Tensor) -> Tensor:
        """Runs a stage, which draws no random numbers."""
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(stage, *inputs, use_reentrant=False, preserve_rng_state=False)  # type: ignore[no-any-return]
        return stage(*inputs)  # type: ignore[no-any-return]

    def _check_size(self, size: tuple[int, ...]) -> None:
        """Refuses sizes at which skips would not fit, or at which InstanceNorm has nothing to normalise over."""
        if any(n % factor for n, factor in zip(size, self.downsampling, strict=True)):
            raise InputError(
                f"network: the strides do not divide a patch of {_times(size)} voxels: make its size a multiple of "
                f"{_times(self.downsampling)}."
            )
        if size == self.downsampling:
            raise InputError(
                f"network: a patch of {_times(size)} voxels leaves a single voxel at the lowest level, which "
                "InstanceNorm cannot normalise: enlarge roi_size or take fewer levels."
            )


def _require_positive(**numbers: Any) -> None:
    """Refuses what is no whole number from 1 on."""
    for name, value in numbers.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"network: {name}={value!r} is not possible: write a whole number from 1 on.")


def _require_switches(**switches: Any) -> None:
    """Refuses what is neither true nor false: any text would count as true, `no` and `off` too."""
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise InputError(f"model.{name}={value} is no switch: give true or false.")


def _checked_channels(channels: Sequence[int]) -> Sequence[int]:
    """Channels of two levels or more."""
    if len(channels) < 2:
        raise InputError(
            f"network: channels={list(channels)} has too few levels: write one number for each, at least two."
        )
    for value in channels:
        _require_positive(channels=value)
    return channels


def _triple(name: str, value: Any) -> Triple:
    """One number per axis."""
    numbers = tuple(value) if isinstance(value, Sequence) else (value,) * 3
    if len(numbers) != 3 or not all(isinstance(n, int) and n > 0 for n in numbers):
        raise InputError(
            f"network: {name} holds {value!r}: write a whole number from 1 on, or three in the order (D, H, W)."
        )
    return numbers


def _stride_triples(strides: Sequence[PerAxis], channels: Sequence[int]) -> list[Triple]:
    """One triple for each step down."""
    if len(strides) != len(channels) - 1:
        raise InputError(
            f"network: {len(channels)} levels of channels take {len(channels) - 1} strides, not the {len(strides)} of "
            f"{list(strides)}: write one from each level to the next."
        )
    return [_triple("strides", stride) for stride in strides]


def _kernel_triples(kernel_size: PerAxis | Sequence[PerAxis], levels: int) -> list[Triple]:
    """One triple for each level."""
    one_for_all = isinstance(kernel_size, int) or (
        len(kernel_size) == 3 and all(isinstance(n, int) for n in kernel_size)
    )
    sizes: Sequence[Any] = [kernel_size] * levels if one_for_all else kernel_size  # type: ignore[assignment]
    if len(sizes) != levels:
        raise InputError(
            f"network: kernel_size={kernel_size} has {len(sizes)} entries for {levels} levels: write a number, three "
            "in the order (D, H, W), or one of these for every level."
        )
    kernels = [_triple("kernel_size", size) for size in sizes]
    if any(n % 2 == 0 for kernel in kernels for n in kernel):
        raise InputError(
            f"network: kernel_size={kernel_size} is even, which would shift the features: write odd numbers."
        )
    return kernels


def _times(size: Sequence[int]) -> str:
    """A size as text."""
    return " x ".join(map(str, size))
