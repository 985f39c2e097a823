"""ERNet's refit of the softmax: a class's probabilities in its regions of interest, reset by what heatmaps add.

Xue et al., "ERNet", Traitement du Signal 42(4), 2025, section 3.2.4: a small network is fitted to the probability and
the heat of the training RoIs' pixels, one per class, while Mask R-CNN stays as it is (the abstract's "retrains the
model" is contradicted there). Its output "directly serves as the final prediction"; no threshold is given: a pixel
belongs to the class where the output is over 0.5, the middle between the labels that it is fitted to.

As printed, Algorithm 3 sums the error over pixels, takes the inputs as they are and learns at a rate of 0.01, which
overflows: `literal=True`, in float64. The default takes the mean and standardised inputs, at a rate of 0.3.
"""

import logging

import torch
from torch import Tensor, nn

from kidney_lab.errors import InputError
from kidney_lab.methods.refit_descent import Reduction, descend
from kidney_lab.methods.refit_groups import build_groups
from kidney_lab.methods.refit_pixels import RoiPixels
from kidney_lab.networks.refit import RefitNetwork
from kidney_lab.numbers import is_number, is_whole

_log = logging.getLogger(__name__)


class SoftmaxRefit(nn.Module):
    """Refit of one class; until it is fitted, probabilities stay as they are.

    Args:
        region: name of the class, for messages.
        groups: what the second input is: `heatmap`, `kmeans` or `none`, see `refit_groups`.
        k: clusters of `groups=kmeans`.
        literal: Algorithm 3 as printed.
        rate: of learning; None: 0.3, and 0.01 where `literal`.
        iterations: full-batch steps.
        hidden_channels: sigmoid units of the network.
        seed: of its initial weights, and of the clusters.

    Raises:
        InputError: there are no such groups, or a number is out of range.
    """

    fitted: Tensor

    def __init__(
        self,
        region: str,
        *,
        groups: str = "heatmap",
        k: int = 10,
        literal: bool = False,
        rate: float | None = None,
        iterations: int = 1000,
        hidden_channels: int = 5,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.region = region
        self.literal = literal
        self.rate = rate if rate is not None else 0.01 if literal else 0.3
        self.iterations = iterations
        if not is_number(self.rate) or self.rate <= 0:
            raise InputError(f"model.refit.rate={rate} is out of range: give a number over 0, such as 0.3, or null.")
        for name, value in (("iterations", iterations), ("hidden_channels", hidden_channels)):
            if not is_whole(value) or value < 1:
                raise InputError(f"model.refit.{name}={value} is no count: give a whole number of at least 1.")
        self.seed = seed
        self.groups = build_groups(groups, k=k, seed=seed)
        self.network = RefitNetwork(hidden_channels, seed=seed, dtype=torch.float64 if literal else torch.float32)
        self.register_buffer("fitted", torch.tensor(False))

    @torch.no_grad()
    def fit(self, pixels: RoiPixels) -> Tensor:
        """Fits the class anew, from the seed's weights, on the device of the module.

        Where all pixels are of one kind, a detector that finds nothing for instance, there is nothing to learn: a
        warning says so and probabilities stay as they are.

        Args:
            pixels: of the training cases, see `refit_pixels.PixelReservoir`.

        Returns:
            `(iterations + 1,)` losses, before every step and after the last; empty where nothing was learned.

        Raises:
            InputError: the descent overflowed, see `refit_descent.descend`, or there are more clusters than distinct
                grey values.
        """
        self.fitted.fill_(False)
        if bool(pixels.label.all()) or not bool(pixels.label.any()):
            _log.warning(
                "The training cases' regions of interest of %s hold no pixels both inside and outside of it: its "
                "probabilities are not refitted.",
                self.region,
            )
            return torch.empty(0)
        pixels = RoiPixels(*(column.to(self.fitted.device) for column in pixels))
        self.groups.fit(pixels)
        inputs = self._inputs(pixels.probability, pixels.heat, pixels.image)
        self.network.reset_parameters(self.seed)
        if not self.literal:
            self.network.standardize_by(inputs)
        reduction: Reduction = "sum" if self.literal else "mean"
        losses = descend(
            self.network, inputs, pixels.label, rate=self.rate, iterations=self.iterations, reduction=reduction
        )
        self.fitted.fill_(True)
        return losses

    def forward(self, probability: Tensor, heat: Tensor, image: Tensor) -> Tensor:
        """Resets the probabilities of pixels inside regions of interest.

        Args:
            probability: of the class, any shape, 0 to 1.
            heat: of the same shape, 0 to 1.
            image: of the same shape, grey values as in training.

        Returns:
            The network's output, of the same shape, clipped to 0 to 1: a map to be read like a probability, but not a
            calibrated one. The class is where it is over 0.5.
        """
        if not self.fitted:
            return probability
        output: Tensor = self.network(self._inputs(probability, heat, image))
        return output.clamp(0, 1).to(probability.dtype)

    def _inputs(self, probability: Tensor, heat: Tensor, image: Tensor) -> Tensor:
        """float32 `(..., 2)`: probability and second input."""
        return torch.stack([probability.float(), self.groups(heat, image).float()], dim=-1)
