"""The small network that resets a pixel's class probability: two inputs, five sigmoid units, one linear output.

Xue et al., "ERNet", Traitement du Signal 42(4), 2025, section 3.2.4 and Algorithm 3.

What the paper leaves open or contradicts, and what was chosen:
- The text says "five hidden layer", Algorithm 3 and section 4.5 say one hidden layer of five units: one layer.
- The text gives the input layer a sigmoid too, Algorithm 3 does not: none.
- `Rand` is MATLAB's, uniform over 0 to 1.
- Standardised inputs are ours: without them, 1000 steps at any rate that converges end far from the optimum. They are
  part of the network, so that a checkpoint holds the mean and deviation that it was fitted with; 0 and 1 are the paper.
"""

import torch
from torch import Tensor, nn


class RefitNetwork(nn.Module):
    """`y = w sigmoid(W x + B) + b` of two inputs, usually a pixel's probability and its heat.

    Args:
        hidden_channels: sigmoid units.
        seed: of the weights, see `reset_parameters`.
        dtype: of weights and output.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, hidden_channels: int = 5, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.hidden = nn.Linear(2, hidden_channels, dtype=dtype)
        self.output = nn.Linear(hidden_channels, 1, dtype=dtype)
        self.register_buffer("mean", torch.zeros(2, dtype=dtype))
        self.register_buffer("std", torch.ones(2, dtype=dtype))
        self.reset_parameters(seed)

    @torch.no_grad()
    def reset_parameters(self, seed: int = 0) -> None:
        """Draws all weights anew, uniformly from 0 to 1 (lines 2 and 3), and takes the inputs as they are again.

        Args:
            seed: the same seed gives the same weights, on every device.
        """
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=generator, dtype=parameter.dtype))
        self.mean.zero_()
        self.std.fill_(1)

    @torch.no_grad()
    def standardize_by(self, inputs: Tensor) -> None:
        """Takes mean and deviation (of the population) from training inputs `(N, 2)`; a constant input becomes 0."""
        values = inputs.cpu().double()  # some accelerators have no float64
        constant = values.amin(dim=0) == values.amax(dim=0)
        self.mean.copy_(values.mean(dim=0))
        self.std.copy_(values.std(dim=0, correction=0).where(~constant, 1.0))

    def standardized(self, inputs: Tensor) -> Tensor:
        """Inputs `(..., 2)` as the hidden layer gets them, in the network's type."""
        return (inputs.to(self.mean.dtype) - self.mean) / self.std

    def forward(self, inputs: Tensor) -> Tensor:
        """Output of every pixel.

        Args:
            inputs: `(..., 2)`.

        Returns:
            `(...)`, near 1 where a pixel belongs to the class and near 0 where not, but not bounded. Never in half
            precision.
        """
        with torch.autocast(inputs.device.type, enabled=False):
            output: Tensor = self.output(torch.sigmoid(self.hidden(self.standardized(inputs))))
        return output[..., 0]
