"""How much GPU memory does training the thesis' 3D U-Net take (full preset, batch 2, bfloat16 autocast)?

    python benchmarks/training_memory.py [--prior-channels 3] [--batch-size 2] [--plain]

Rows are stage 1 (one channel, 128 x 128 x 128 voxels) and stage 2 (96 x 160 x 160, with the one-hot labels of stage 1
as further channels), each without and with gradient checkpointing. A step is forward, soft Dice + cross-entropy at all
five levels in float32, backward, and SGD with Nesterov momentum on float32 weights. "kept" is all that lives between
forward and backward, "peak" the most that lives at any time; both include the weights.

- With a GPU the memory is measured: the most that tensors took in three steps, and the most that PyTorch reserved for
  them, which is nearer to what nvidia-smi shows.
- Without one it is computed: the same three steps run on tensors that have a shape and no memory (PyTorch's fake
  tensors under the processor's autocast), and the bytes of all storages alive are added up after every operation. What
  convolutions take as workspace, what fragments, and the CUDA context (some hundred MiB) come on top.
"""

import argparse
import gc
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from kidney_lab.networks.residual_unet3d import ResidualUNet3d

CHANNELS = (32, 64, 128, 256, 320, 320)
CLASSES = 3
STEPS = 3
STAGE_1, STAGE_2 = (128, 128, 128), (96, 160, 160)


@dataclass(frozen=True)
class Memory:
    """Bytes on the device in training.

    Args:
        fixed: float32 weights, gradients and momentum.
        kept: all that is alive between forward and backward.
        peak: the most that is alive.
        reserved: the most that PyTorch holds of the GPU; None where nothing was measured.
    """

    fixed: int
    kept: int
    peak: int
    reserved: int | None


class LiveStorages(TorchDispatchMode):
    """Adds up the storages of tensors that operations return, as long as they live."""

    def __init__(self) -> None:
        super().__init__()
        self._alive = WeakIdKeyDictionary()
        self.peak = 0

    @property
    def now(self) -> int:
        """Bytes alive."""
        return sum(self._alive.values())

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Runs an operation and notes what it returns."""
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                self._alive[storage] = storage.nbytes()
        self.peak = max(self.peak, self.now)
        return result


def dice_ce(logits: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy and soft Dice; fake tensors have no values, which MONAI's losses ask for."""
    probs = logits.softmax(1)
    classes = torch.arange(CLASSES, device=label.device).reshape(1, CLASSES, 1, 1, 1)
    truth = (label == classes).float()
    overlap, volume = ((probs * truth).sum((2, 3, 4)), (probs + truth).sum((2, 3, 4)))
    return F.cross_entropy(logits, label[:, 0].long()) + 1 - (2 * overlap / volume.clamp(min=1)).mean()


class Training:
    """A network, its optimiser and one batch.

    Args:
        network: in training mode.
        image_shape: `(B, C, D, H, W)`.
        device: where it trains.
    """

    def __init__(self, network: nn.Module, image_shape: Sequence[int], device: torch.device) -> None:
        self.network, self.device = network, device
        self.optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.99, nesterov=True, weight_decay=3e-5)
        batch, _, *size = image_shape
        self.image = torch.zeros(tuple(image_shape), device=device)
        self.label = torch.zeros((batch, 1, *size), device=device)

    def forward(self) -> Tensor:
        """Loss over all levels, each against the label in its own size."""
        with torch.autocast(self.device.type, torch.bfloat16):
            logits = self.network(self.image)
        losses = [dice_ce(out.float(), F.interpolate(self.label, out.shape[2:])) for out in logits]
        return sum(loss / 2**level for level, loss in enumerate(losses))

    def backward(self, loss: Tensor) -> None:
        """One step of the optimiser."""
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def fixed_bytes(network: nn.Module) -> int:
    """Weights, gradients and momentum in float32."""
    return 3 * 4 * sum(parameter.numel() for parameter in network.parameters())


def compute(options: dict[str, Any], image_shape: Sequence[int]) -> Memory:
    """What training takes, without a GPU."""
    with ExitStack() as stack:
        stack.enter_context(FakeTensorMode())
        live = stack.enter_context(LiveStorages())
        training = Training(ResidualUNet3d(**options), image_shape, torch.device("cpu"))
        kept = 0
        for _ in range(STEPS):
            loss = training.forward()
            kept = live.now
            training.backward(loss)
        return Memory(fixed_bytes(training.network), kept, live.peak, None)


def measure(options: dict[str, Any], image_shape: Sequence[int]) -> Memory:
    """What training took on the first GPU."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    device = torch.device("cuda")
    training = Training(ResidualUNet3d(**options).to(device), image_shape, device)
    kept = 0
    for _ in range(STEPS):
        loss = training.forward()
        kept = torch.cuda.memory_allocated()
        training.backward(loss)
    return Memory(
        fixed_bytes(training.network), kept, torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    )


def gib(size: int | None) -> str:
    """Bytes as GiB, for a table."""
    return "" if size is None else f"{size / 2**30:.2f}"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prior-channels", type=int, default=3, help="of stage 2, beside the image")
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--plain", action="store_true", help="without residual connections")
    options = parser.parse_args()
    on_gpu = torch.cuda.is_available()
    where = f"measured on {torch.cuda.get_device_name()}" if on_gpu else "computed, not measured: there is no GPU here"
    print(
        f"GiB of GPU memory in training, batch {options.batch_size}, bf16-mixed, torch {torch.__version__}: {where}\n"
    )
    print("| stage | channels | patch | checkpointing | weights, gradients, momentum | kept | peak | reserved |")
    print("|---|---|---|---|---|---|---|---|")
    for stage, in_channels, size in ((1, 1, STAGE_1), (2, 1 + options.prior_channels, STAGE_2)):
        for checkpointing in (False, True):
            network = {
                "in_channels": in_channels,
                "out_channels": CLASSES,
                "channels": CHANNELS,
                "strides": [2] * (len(CHANNELS) - 1),
                "residual": not options.plain,
                "checkpointing": checkpointing,
            }
            memory = (measure if on_gpu else compute)(network, (options.batch_size, in_channels, *size))
            patch = " x ".join(map(str, size))
            figures = " | ".join(map(gib, (memory.fixed, memory.kept, memory.peak, memory.reserved)))
            print(f"| {stage} | {in_channels} | {patch} | {'on' if checkpointing else 'off'} | {figures} |")


if __name__ == "__main__":
    main()
