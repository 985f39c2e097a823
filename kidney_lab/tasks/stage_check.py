"""Does a stage work as it is configured? Tried out on shapes alone, before any data is prepared."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.lr_scheduler import ReduceLROnPlateau

from kidney_lab.data.views import RoiView, View
from kidney_lab.errors import InputError
from kidney_lab.losses.boundary_weighted import BoundaryWeightedLoss
from kidney_lab.methods.alternating import AlternatingSegmentation
from kidney_lab.methods.detection import DetectionSegmentation
from kidney_lab.methods.stage import Stage


def check_stage(name: str, stage: Stage) -> None:
    """Makes sure that a stage's optimizer can be made and stepped, and that its network takes what its view gives.

    Args:
        name: of the stage.
        stage: just composed; nothing of it is kept, and its scheduler is used up.

    Raises:
        InputError: one of them fails; the message says which settings to look at.
    """
    try:
        configured = stage.module.configure_optimizers()
        for made in configured if isinstance(configured, list) else [configured]:
            made["optimizer"].step()  # without gradients, which moves nothing; a scheduler may not come before it
            scheduler = made["lr_scheduler"]["scheduler"]  # some settings are first used when it steps
            scheduler.step(*([0.0] if isinstance(scheduler, ReduceLROnPlateau) else []))
    except (TypeError, ValueError, ArithmeticError) as error:
        others = ", model.discriminator.*" if isinstance(stage.module, AlternatingSegmentation) else ""
        raise InputError(
            f"The optimizer or scheduler of the stage {name} cannot be made ({error}): check optimizer.*, "
            f"scheduler.*{others} and model.lr."
        ) from error
    shapes = {"samples of the view": sample_size(stage.view)}
    window = getattr(stage.inferer, "roi_size", None)
    if isinstance(window, Sequence) and len(window) == stage.view.spatial_dims:
        shapes["windows of model.roi_size"] = window
    for what, shape in shapes.items():
        problem = forward_problem(stage.module.network, [1, stage.channels, *shape])
        if problem is not None:
            raise InputError(
                f"The network of the stage {name} cannot take {what}, {list(shape)} voxels in "
                f"{stage.channels} channels ({problem}): choose sizes that its strides divide, by {_sizes(stage)}, "
                "and as many channels as it takes."
            )
    refuse_single_values(name, stage)
    for part in stage.module.loss.modules():
        if isinstance(part, BoundaryWeightedLoss):
            part.check_channels(stage.module.output.channels)
    if isinstance(stage.module, AlternatingSegmentation) and stage.module.has_discriminators:
        refuse_discriminators(name, stage.module, [1, stage.channels, *sample_size(stage.view)])


def refuse_single_values(name: str, stage: Stage) -> None:
    """Makes sure that batch normalisation sees more than one value a channel, which it needs in training alone.

    Args:
        name: of the stage.
        stage: nothing of it is changed.

    Raises:
        InputError: it does not.
    """
    network = stage.module.network
    if isinstance(stage.module, DetectionSegmentation) or not any(isinstance(m, _BatchNorm) for m in network.modules()):
        return  # a detector asks for boxes in training, and its backbone never normalises single values
    sample = sample_size(stage.view)
    problem = forward_problem(network, [stage.batch_size, stage.channels, *sample], training=True)
    if problem is not None:
        raise InputError(
            f"The network of the stage {name} cannot be trained on batches of {stage.batch_size} with samples of "
            f"{list(sample)} voxels ({problem}): choose a larger model.batch_size, or larger samples by "
            f"{_sizes(stage)}."
        )


def refuse_discriminators(name: str, module: AlternatingSegmentation, input_shape: Sequence[int]) -> None:
    """Makes sure that the discriminators of a stage take what its network predicts. Nothing is computed but shapes.

    Args:
        name: of the stage.
        module: nothing of it is changed.
        input_shape: `(B, C, D, H, W)` or `(B, C, H, W)` of a sample.

    Raises:
        InputError: one of them does not.
    """
    shadow = copy.deepcopy(module).to("meta").train()
    batch = {
        "image": torch.empty(2, *input_shape[1:], device="meta"),
        "label": torch.empty(2, 1, *input_shape[2:], dtype=torch.uint8, device="meta"),
    }
    try:
        with torch.no_grad():
            shadow.judgements(shadow.levels(batch))
    except (RuntimeError, ValueError, InputError) as error:
        problem = " ".join(str(error).split()).rstrip(".")
        raise InputError(
            f"The discriminators of the stage {name} cannot take what its network predicts of {list(input_shape[2:])} "
            f"voxels ({problem}): choose discriminators of fewer levels by model.discriminator_*, or larger samples."
        ) from error


def sample_size(view: View) -> Sequence[int]:
    """Shape of a view's samples; of a box that is only found on the training cases one that it might have."""
    if isinstance(view, RoiView) and view.patch_size is None and view.size is None:
        return [2 * view.multiple] * 3
    return view.roi_size


def _sizes(stage: Stage) -> str:
    """Keys that the shapes of a stage come from: those of windows are the model's, which not all have."""
    return "view.*" if getattr(stage.inferer, "roi_size", None) is None else "model.roi_size= and view.*"


def forward_problem(network: nn.Module, input_shape: Sequence[int], *, training: bool = False) -> str | None:
    """Why a network cannot take an input of a shape; None where it can. Nothing is computed but shapes.

    Args:
        network: any module of one input.
        input_shape: `(B, C, D, H, W)` or `(B, C, H, W)`.
        training: whether as in training, instead of as in prediction.

    Returns:
        What torch or the network says, or that the output is of another size, in one line; or None.
    """
    shadow = copy.deepcopy(network).to("meta").train(training)
    try:
        with torch.no_grad():
            logits = shadow(torch.empty(tuple(input_shape), device="meta"))
    except (RuntimeError, ValueError, InputError) as error:
        return " ".join(str(error).split()).rstrip(".")
    if isinstance(logits, Tensor) and list(logits.shape[2:]) != list(input_shape[2:]):  # a detector gives boxes
        return f"it gives {list(logits.shape[2:])} voxels back"
    return None
