"""The loss of Hao's thesis: one minus the mean of generalised Dice and surface Dice.

"Cascade 3D U-Net" (master's thesis, University of Melbourne 2024). Section 3.3 calls the mean of the two an evaluation
metric, chapter 5 the loss; both readings are here: this is the loss, and the scores of label maps are
`kidney_lab.metrics.generalized_dice` and `kidney_lab.metrics.surface`. The thesis leaves open how surface Dice becomes
differentiable (`kidney_lab.losses.surface_dice`), its tolerance, and the weights of the classes. The tolerance is one
voxel here, of whatever grid: the stages of a cascade have different ones, and one loss.
"""

from collections.abc import Sequence
from typing import Any, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kidney_lab.errors import InputError
from kidney_lab.losses.generalized_dice import Weight, generalized_dice
from kidney_lab.losses.surface_dice import Form, soft_surface_dice


class BoundaryAwareLoss(nn.Module):
    """`1 - ((1 - v) generalised Dice + v surface Dice) + ce cross-entropy`, with `v = surface_weight`.

    Surface Dice is averaged over the channels, and over the samples unless `batch`. A class that neither the target nor
    the prediction holds costs nothing. Generalised Dice counts the background among the classes, which alone tells a
    patch of nothing else what is wrong with it: with `softmax` it is channel 0, and with `sigmoid` what no channel
    covers, `1 - max_c p_c`.

    Works at any resolution: `monai.losses.DeepSupervisionLoss` gives it the levels of a network. The tolerance is then
    the same number of voxels at every level.

    Computed in float32 at least, whatever the precision of the logits.

    Args:
        include_background: False leaves channel 0 out, except of the cross-entropy.
        sigmoid: the input is logits of channels that may overlap.
        softmax: the input is logits of classes that exclude each other. With neither, it is probabilities.
        batch: sums over the samples before dividing: a patch alone often holds none of a class.
        tolerance_voxels: distance at which a border still counts as found, in voxels; one for every axis, or (D, H, W).
        surface_form: "nikolov" or "thesis", see `soft_surface_dice`.
        surface_weight: share of surface Dice, 0 to 1; the thesis' is half.
        w_type: weight of a class in generalised Dice by its volume, "square", "simple" or "uniform".
        ce: weight of nnU-Net's cross-entropy, which is binary with `sigmoid`; 0 is the thesis' loss.
        smooth: voxels added above and below both fractions.

    Raises:
        InputError: on a value that is not allowed.
    """

    def __init__(
        self,
        *,
        include_background: bool = True,
        sigmoid: bool = False,
        softmax: bool = False,
        batch: bool = False,
        tolerance_voxels: int | Sequence[int] = 1,
        surface_form: Form = "nikolov",
        surface_weight: float = 0.5,
        w_type: Weight = "square",
        ce: float = 0.0,
        smooth: float = 1e-5,
    ) -> None:
        super().__init__()
        _check_switches(include_background=include_background, sigmoid=sigmoid, softmax=softmax, batch=batch)
        _check_activation(sigmoid=sigmoid, softmax=softmax, ce=ce)
        _check_choice("surface_form", surface_form, get_args(Form))
        _check_choice("w_type", w_type, get_args(Weight))
        if not 0 <= surface_weight <= 1:
            raise InputError(f"loss.surface_weight={surface_weight} must lie in 0 to 1: the thesis' is 0.5.")
        self.include_background = include_background
        self.sigmoid = sigmoid
        self.softmax = softmax
        self.batch = batch
        self.radius = _radius(tolerance_voxels)
        self.surface_form: Form = surface_form
        self.surface_weight = surface_weight
        self.w_type: Weight = w_type
        self.ce = ce
        self.smooth = smooth

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Loss of one resolution.

        Args:
            input: logits, or probabilities, `(B, C, D, H, W)`; slices `(B, C, H, W)`.
            target: one-hot, or multi-label with `sigmoid`, of the same shape, 0 or 1.

        Returns:
            Scalar, float32 or float64.

        Raises:
            InputError: if the shapes differ, or the background is to be left out of a single channel.
        """
        self._check(input, target)
        input = input.to(torch.promote_types(input.dtype, torch.float32))
        target = target.to(input.dtype)
        loss = 1 - self._similarity(self._probabilities(input), target)
        return loss + self.ce * self._cross_entropy(input, target) if self.ce else loss

    def _similarity(self, probabilities: Tensor, target: Tensor) -> Tensor:
        if not self.include_background:
            probabilities, target = probabilities[:, 1:], target[:, 1:]
        surface = soft_surface_dice(
            probabilities, target, radius=self.radius, form=self.surface_form, batch=self.batch, smooth=self.smooth
        ).mean()
        if self.sigmoid:
            probabilities, target = _with_background(probabilities), _with_background(target)
        volume = generalized_dice(
            probabilities, target, w_type=self.w_type, batch=self.batch, smooth=self.smooth
        ).mean()
        return torch.lerp(volume, surface, self.surface_weight)

    def _probabilities(self, input: Tensor) -> Tensor:
        if self.softmax:
            return input.softmax(dim=1)
        return input.sigmoid() if self.sigmoid else input

    def _cross_entropy(self, logits: Tensor, target: Tensor) -> Tensor:
        if self.softmax:
            return F.cross_entropy(logits, target)
        return F.binary_cross_entropy_with_logits(logits, target)

    def _check(self, input: Tensor, target: Tensor) -> None:
        if input.shape != target.shape:
            raise InputError(
                f"The loss got logits {tuple(input.shape)} and a target {tuple(target.shape)}, but both must have the "
                "same shape (B, C, D, H, W): give one channel per class, the target one-hot."
            )
        if not self.include_background and input.shape[1] == 1:
            raise InputError(
                "The loss got a single channel and is to leave the background out, channel 0, so that nothing is left: "
                "set loss.include_background=true."
            )


def _with_background(channels: Tensor) -> Tensor:
    """Channels that may overlap, `(B, C, ...)`, behind one that holds what none of them covers."""
    return torch.cat([1 - channels.amax(dim=1, keepdim=True), channels], dim=1)


def _check_activation(*, sigmoid: bool, softmax: bool, ce: float) -> None:
    if sigmoid and softmax:
        raise InputError("loss.sigmoid and loss.softmax are both true, but channels either overlap or not: choose one.")
    if ce < 0 or (ce and not (sigmoid or softmax)):
        raise InputError(
            f"loss.ce={ce} must be 0 or more, and above 0 needs logits: set loss.softmax or loss.sigmoid to true."
        )


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise InputError(f"loss.{name}={value} is unknown: choose one of {', '.join(choices)}.")


def _check_switches(**switches: Any) -> None:
    """Refuses what is neither true nor false: any text would count as true, `no` and `off` too."""
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise InputError(f"loss.{name}={value} is no switch: give true or false.")


def _radius(tolerance: Any) -> tuple[int, ...]:
    """Voxels of tolerance along (D, H, W)."""
    voxels = tuple(tolerance) if isinstance(tolerance, Sequence) else (tolerance,) * 3
    if len(voxels) != 3 or not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in voxels):
        raise InputError(
            f"loss.tolerance_voxels={tolerance} is no tolerance: give a whole number from 0 on, or three in the order "
            "(D, H, W)."
        )
    return voxels
