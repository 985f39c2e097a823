"""What a network costs: parameters, and floating-point operations of one forward pass."""

import copy
from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(network: nn.Module) -> int:
    """Number of weights."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_flops(network: nn.Module, input_shape: Sequence[int]) -> int:
    """Floating-point operations of one forward pass: twice the multiply-adds.

    Nothing is computed: the pass runs on tensors that have a shape and no memory.

    Args:
        network: any module of one input.
        input_shape: `(B, C, D, H, W)`.

    Returns:
        FLOPs, as `torch.utils.flop_counter` counts them (convolutions and matrix products).
    """
    shadow = copy.deepcopy(network).to("meta").eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shadow(torch.empty(tuple(input_shape), device="meta"))
    return int(counter.get_total_flops())
