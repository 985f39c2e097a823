"""What does training each paper's method at preset=full take: GPU hours and memory, computed, not measured?

    python benchmarks/full_scale.py [--tflops 30] [model ...]

A row per stage, with the configuration of `model=<name> preset=full` and the data of its paper.

- Hours: three times the operations of a forward pass (a backward pass takes about two) for every sample of every
  epoch, at a sustained rate of `--tflops`, about what a GPU of the A100's class keeps up in bf16 on convolutions.
  Discriminators, validation, and waiting for data come on top; early stopping ends a training sooner.
- GiB: the most that tensors take in a step of forward, backward and Adam at the preset's batch size in bfloat16, on
  tensors that have a shape and no memory (see `training_memory.py`). Losses, workspace and the CUDA context come on
  top. A network whose step depends on values, as a detector's does, has a dash.
"""

import argparse
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.utils._pytree import tree_leaves
from training_memory import LiveStorages

from kidney_lab.composition.resolvers import register_resolvers
from kidney_lab.composition.search_path import config_folder, register_experiments
from kidney_lab.methods.cost import count_flops, count_parameters
from kidney_lab.methods.pipeline import enabled_stages
from kidney_lab.methods.stage import Stage

MODELS = {
    "attention_vnet": "kits19",
    "cascade_unet": "kits19",
    "ernet": "kits19",
    "msalds": "kits21",
    "transfer_ensemble": "kits19",
    "unet3d": "kits19",
}
"""Models, and the data of their papers."""


@dataclass(frozen=True)
class Cost:
    """What a stage's training takes.

    Args:
        parameters: of the network.
        flops: of the forward pass of a sample.
        samples: of all epochs.
        peak_bytes: of a step; None where it cannot be computed.
    """

    parameters: int
    flops: int
    samples: int
    peak_bytes: int | None

    def hours(self, tflops: float) -> float:
        """Time of all forward and backward passes at so many 10^12 operations a second."""
        return 3 * self.flops * self.samples / (tflops * 1e12) / 3600


def configuration(model: str, data: str) -> DictConfig:
    """The composed configuration of a model at full size, with nothing that needs a run folder."""
    register_resolvers()
    register_experiments()
    overrides = [f"model={model}", f"data={data}", "preset=full", "data.root=nowhere", "logger=none"]
    if OmegaConf.select(OmegaConf.load(config_folder() / "model" / "sizes" / model / "full.yaml"), "weights"):
        overrides.append("model.weights=none")  # the same network, without a file
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = compose("config", overrides=overrides, return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    return config


def stages_of(config: DictConfig) -> Iterator[tuple[str, DictConfig, Stage, int]]:
    """Name, configuration, stage and epochs of every stage that is trained by gradients."""
    for name, stage_config in enabled_stages(config.model.stages).items():
        stage: Stage = instantiate(stage_config, _convert_="all")
        if any(weight.requires_grad for weight in stage.module.network.parameters()):
            yield name, stage_config, stage, int(stage.trainer.get("max_epochs", config.trainer.max_epochs))


def peak_bytes(stage_config: DictConfig, input_shape: list[int]) -> int | None:
    """The most that lives in a training step of a stage's network, on tensors without memory."""
    with ExitStack() as stack:
        stack.enter_context(FakeTensorMode())
        live = stack.enter_context(LiveStorages())
        try:
            network: nn.Module = instantiate(stage_config.module.network, _convert_="all").train()
            optimizer = torch.optim.Adam(weight for weight in network.parameters() if weight.requires_grad)
            for _ in range(2):  # the second with the optimizer's moments
                with torch.autocast("cpu", torch.bfloat16):
                    outputs = network(torch.zeros(input_shape))
                floats = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor) and leaf.requires_grad]
                torch.stack([leaf.float().mean() for leaf in floats]).sum().backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
        except (DataDependentOutputException, DynamicOutputShapeException):
            return None
        return live.peak


def cost_of(stage_config: DictConfig, stage: Stage, epochs: int) -> Cost:
    """What the training of a stage takes."""
    shape = [1, stage.channels, *stage.view.roi_size]
    return Cost(
        parameters=count_parameters(stage.module.network),
        flops=count_flops(stage.module.network, shape),
        samples=stage.view.samples_per_epoch * epochs,
        peak_bytes=peak_bytes(stage_config, [stage.batch_size, *shape[1:]]),
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--tflops", type=float, default=30.0, help="sustained, 10^12 operations a second")
    options = parser.parse_args()
    print(f"Computed, not measured: preset=full, {options.tflops:g} TFLOP/s sustained, torch {torch.__version__}\n")
    print("| model | stage | batch | sample | parameters, million | GFLOP forward | samples | GPU hours | GiB |")
    print("|---|---|---:|---|---:|---:|---:|---:|---:|")
    for model in options.models:
        config = configuration(model, MODELS.get(model, "kits19"))
        for name, stage_config, stage, epochs in stages_of(config):
            cost = cost_of(stage_config, stage, epochs)
            size = " x ".join(map(str, (stage.channels, *stage.view.roi_size)))
            memory = "—" if cost.peak_bytes is None else f"{cost.peak_bytes / 2**30:.1f}"
            print(
                f"| {model} | {name} | {stage.batch_size} | {size} | {cost.parameters / 1e6:.1f} "
                f"| {cost.flops / 1e9:.0f} | {cost.samples} | {cost.hours(options.tflops):.1f} | {memory} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
