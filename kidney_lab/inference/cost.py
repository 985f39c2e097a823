"""What segmenting one scan takes: seconds, memory, windows and floating-point operations."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from kidney_lab.geometry import Volume
from kidney_lab.inference.method import Segmentation, TrainedMethod
from kidney_lab.memory import peak_mib, reset_peak
from kidney_lab.methods.cost import count_flops

Windows = Counter[tuple[str, tuple[int, ...]]]
"""How many samples of which shape `(C, D, H, W)` went through which network."""


@dataclass(frozen=True)
class CaseCost:
    """What one scan took, from Hounsfield units in memory to the label map on their grid.

    Args:
        seconds: wall time; reading and writing files is not in it.
        peak_mib: largest resident memory of the process meanwhile, MiB.
        device_mib: largest memory that tensors took on the GPU meanwhile, MiB; None on a CPU.
        windows: samples that went through the networks of all stages, those of an ensemble's members among them.
        flops: of all windows, see `count_flops`.
    """

    seconds: float
    peak_mib: float
    device_mib: float | None
    windows: int
    flops: int


class CostMeter:
    """Segments scans with a method and measures what each takes; the label maps are the method's own.

    Args:
        method: that segments.
    """

    def __init__(self, method: TrainedMethod) -> None:
        self.method = method
        self._flops: dict[tuple[str, tuple[int, ...]], int] = {}

    def segment(
        self,
        volume: Volume,
        name: str = "the scan",
        *,
        keep: bool = True,
        observe: Callable[[slice, Tensor], None] | None = None,
    ) -> tuple[Segmentation, CaseCost]:
        """Segments a volume in any orientation.

        Args:
            volume: Hounsfield units.
            name: of the scan, for warnings.
            keep: see `TrainedMethod.segment_in_stages`, as the next.
            observe: is shown the probabilities.

        Returns:
            What `TrainedMethod.segment_in_stages` gives, and what it took.
        """
        on_gpu = self.method.device.type == "cuda"
        networks = self.method.networks
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(self.method.device)
        reset_peak()
        with _windows_of(networks) as windows:
            started = time.perf_counter()
            segmentation = self.method.segment_in_stages(volume, name, keep=keep, observe=observe)
            seconds = time.perf_counter() - started
        cost = CaseCost(
            seconds=round(seconds, 3),
            peak_mib=round(peak_mib(), 1),
            device_mib=round(torch.cuda.max_memory_allocated(self.method.device) / 2**20, 1) if on_gpu else None,
            windows=windows.total(),
            flops=sum(n * self._flops_of(networks[name], name, shape) for (name, shape), n in windows.items()),
        )
        return segmentation, cost

    def _flops_of(self, network: nn.Module, name: str, shape: tuple[int, ...]) -> int:
        """FLOPs of one window, counted once for every shape."""
        if (name, shape) not in self._flops:
            self._flops[name, shape] = count_flops(network, (1, *shape))
        return self._flops[name, shape]


@contextmanager
def _windows_of(networks: dict[str, nn.Module]) -> Iterator[Windows]:
    """Counts what goes through networks, whatever the inferer cuts a scan into."""
    seen: Windows = Counter()

    def note(name: str, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        batch, *shape = inputs[0].shape
        seen[name, tuple(shape)] += batch

    with ExitStack() as hooks:
        for name, network in networks.items():
            hooks.enter_context(network.register_forward_pre_hook(partial(note, name)))
        yield seen
