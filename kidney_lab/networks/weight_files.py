"""Files of pretrained weights, which have to be there: nothing is fetched.

They are looked for where torch's hub and torchvision keep theirs.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchvision.models import get_model_weights

from kidney_lab.errors import InputError
from kidney_lab.wording import listed

State = dict[str, Tensor]
"""Weights by name."""


class WeightFile(NamedTuple):
    """A file of weights.

    Args:
        path: where it has to be.
        url: where it may be had; None: it is the user's own.
    """

    path: Path
    url: str | None = None


def hub_file(url: str) -> WeightFile:
    """A published file, where torch's hub would keep it."""
    return WeightFile(Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2], url)


def own_file(path: str) -> WeightFile:
    """A file of the user's; `~` is their home."""
    return WeightFile(Path(path).expanduser())


def imagenet_url(classifier: str) -> str:
    """Where torchvision has the weights of one of its classifiers, trained on ImageNet.

    Raises:
        ValueError: torchvision has no such classifier.
    """
    url: str = get_model_weights(classifier)["IMAGENET1K_V1"].url
    return url


class Missing(NamedTuple):
    """Files that are not there.

    Args:
        weights: value that asks for them.
        of: what the weights are for, such as `model.backbone=resnet18`.
        files: one or more.
        choices: other values that `model.weights` may have.
    """

    weights: str
    of: str
    files: Sequence[WeightFile]
    choices: Sequence[str]


class MissingWeightsError(InputError):
    """Files of weights are missing: tells which, whence and whither, of all networks in one sentence.

    Args:
        missing: by network.
    """

    def __init__(self, missing: Sequence[Missing]) -> None:
        super().__init__(_sentence(missing))
        self.missing = missing


def refuse_missing(files: Sequence[WeightFile], weights: str, *, of: str, choices: Sequence[str]) -> None:
    """Makes sure that files are there.

    Args:
        files: that `model.weights` asks for.
        weights: its value.
        of: what the weights are for.
        choices: other values that it may have.

    Raises:
        MissingWeightsError: some are not.
    """
    missing = [file for file in files if not file.path.is_file()]
    if missing:
        raise MissingWeightsError([Missing(weights, of, missing, choices)])


def _sentence(missing: Sequence[Missing]) -> str:
    files = list(dict.fromkeys(file for each in missing for file in each.files))
    own = [str(file.path) for file in files if file.url is None]
    published = [file for file in files if file.url is not None]
    values = list(dict.fromkeys(each.weights for each in missing))
    if own and len(missing) == 1:
        return f"model.weights={values[0]} is no file: name one, or choose {listed(missing[0].choices, 'or')}."
    names = [f"{file.path.name} ({file.url})" for file in published]
    needed = [f"{listed(names)} in {published[0].path.parent}", *own] if published else own
    value = f"={values[0]}" if len(values) == 1 else ""
    noun = "files" if len(files) > 1 else "file"
    return (
        f"model.weights{value} with {listed([each.of for each in missing])} needs {listed(needed)}: put the {noun} "
        f"there, since nothing is fetched, {'name others, ' if own else ''}or set model.weights=none."
    )


def read_state(path: Path) -> State:
    """Weights of a file; of a checkpoint of a stage those of its network.

    Args:
        path: of a file that `torch.save` wrote, or of safetensors.

    Returns:
        Weights by name; none where the file holds something else. What stands among them and is none (an epoch) is
        left out.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickled(path)
    except Exception as error:  # of bytes that are no pickle, unpickling may make anything
        raise InputError(f"{path} cannot be read as weights: bring a whole file that torch.save wrote.") from error
    state = _tensors(content)
    if isinstance(content, Mapping) and "state_dict" in content:  # of a LightningModule, which calls it its network
        whole = _tensors(content["state_dict"])
        state = {name.removeprefix("network."): value for name, value in whole.items() if name.startswith("network.")}
    return state


def _tensors(content: Any) -> State:
    """What of a file's content is weights by name."""
    items = content.items() if isinstance(content, Mapping) else ()
    return {name: value for name, value in items if isinstance(name, str) and isinstance(value, Tensor)}


def _read_pickled(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def _read_safetensors(path: Path) -> Any:
    from safetensors.torch import load  # timm's format, which few need

    return load(path.read_bytes())
