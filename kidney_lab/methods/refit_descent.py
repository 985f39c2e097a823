"""Full-batch gradient descent of ERNet's small network: Algorithm 3, as printed or so that it converges.

Xue et al., "ERNet", Traitement du Signal 42(4), 2025, Algorithm 3, lines 5 to 16. Lines 14 and 15 subtract a column per
pixel from a bias: read as the sum over pixels, which is what lines 12 and 13 do. Line 11 prints `w*` for the output
layer's weights.

As printed, the squared error is a sum over pixels and its gradient grows with their number. On made-up pixels, a rate
of 0.01 diverges from about two hundred on: 1000 steps end at an error of 2e4 over 200 pixels and of 4e162 over 220, and
float64 overflows after 745 steps over 260 pixels, 96 over 4 000 and 46 over 200 000 (float32 after 215 over 220, and
after 84, 11 and 5). `reduction="mean"` divides by that number.
"""

from typing import Literal

import torch
from torch import Tensor

from kidney_lab.errors import InputError
from kidney_lab.networks.refit import RefitNetwork

Reduction = Literal["mean", "sum"]

_PIECE = 1 << 16  # pixels at a time: what they need fits into a processor's cache, five times as fast as two millions


def squared_error(network: RefitNetwork, inputs: Tensor, labels: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Loss and gradients over all pixels: lines 6 to 11, and what lines 12 to 15 subtract.

    Args:
        network: whose weights count; its standardisation does not.
        inputs: `(2, N)`, a column per pixel as in the paper, standardised already, of the network's type.
        labels: `(N,)`, 0 or 1, of the network's type.

    Returns:
        `sum((y - label)^2) / 2` (line 9), and its gradient by every parameter, in the order of `network.parameters()`.
    """
    hidden = torch.sigmoid(torch.addmm(network.hidden.bias[:, None], network.hidden.weight, inputs))
    error = torch.addmm(network.output.bias[:, None], network.output.weight, hidden) - labels
    delta = network.output.weight.T * error * hidden * (1 - hidden)
    gradients = [delta @ inputs.T, delta.sum(dim=1), error @ hidden.T, error.sum(dim=1)]
    return error.square().sum() / 2, gradients


@torch.no_grad()
def descend(
    network: RefitNetwork,
    inputs: Tensor,
    labels: Tensor,
    *,
    rate: float = 0.3,
    iterations: int = 1000,
    reduction: Reduction = "mean",
) -> Tensor:
    """Moves the network's parameters down the squared error, all at once, from where they are.

    Args:
        network: changed in place.
        inputs: `(N, 2)`, as the network takes them.
        labels: `(N,)`, 0 or 1.
        rate: of learning; 0.01 in the paper.
        iterations: steps over all pixels.
        reduction: of the loss and its gradient over pixels: `mean`, or the paper's `sum`.

    Returns:
        `(iterations + 1,)` losses, before every step and after the last.

    Raises:
        InputError: the loss is no longer finite; says after how many steps.
    """
    share = 1 / len(labels) if reduction == "mean" else 1.0
    losses = []
    with torch.autocast(inputs.device.type, enabled=False):
        inputs, labels = network.standardized(inputs).T.contiguous(), labels.to(network.mean.dtype)
        pieces = list(zip(inputs.split(_PIECE, dim=1), labels.split(_PIECE), strict=True))
        for iteration in range(iterations + 1):
            errors, gradients = zip(*(squared_error(network, *piece) for piece in pieces), strict=True)
            loss = torch.stack(errors).sum() * share
            if not torch.isfinite(loss):
                raise InputError(_diverged(iteration, iterations, len(labels), rate, reduction))
            losses.append(loss)
            if iteration < iterations:
                for parameter, parts in zip(network.parameters(), zip(*gradients, strict=True), strict=True):
                    parameter.sub_(torch.stack(parts).sum(dim=0), alpha=rate * share)
    return torch.stack(losses)


def _diverged(iteration: int, iterations: int, pixels: int, rate: float, reduction: Reduction) -> str:
    found = f"The refit of the softmax overflowed after {iteration} of {iterations} iterations over {pixels} pixels"
    if reduction == "sum":
        return (
            f"{found}, since model.refit.literal=true sums the error over pixels as the paper prints it: choose "
            "model.refit.literal=false."
        )
    return f"{found} with model.refit.rate={rate:g}: choose a smaller rate, such as 0.3."
