"""Parts of libraries that every stored configuration may call: exact public names of what methods are made of.

A package's name is no boundary. Beside the networks of torchvision lies `create_feature_extractor`, and torch.fx writes
the names of modules as they are into the source code that it runs; MONAI's Gaussian mixtures write theirs into a build.
So the namespaces are few, and in each of them only one kind of thing counts.
"""

from importlib import import_module
from types import FunctionType
from typing import Final, get_type_hints

from torch import nn

CLASSES: Final = {
    "torch.nn": "torch.nn.Module",
    "torch.optim": "torch.optim.Optimizer",
    "torch.optim.lr_scheduler": "torch.optim.lr_scheduler.LRScheduler",
    "torchvision.ops": "torch.nn.Module",
    "monai.networks.nets": "torch.nn.Module",
    "monai.losses": "torch.nn.Module",
    "monai.transforms": "monai.transforms.Transform",
    "monai.inferers": "monai.inferers.Inferer",
    "segmentation_models_pytorch": "torch.nn.Module",
}
"""Namespaces, and the base of the classes that they may give."""

TORCHVISION: Final = (
    *("torchvision.models", "torchvision.models.detection", "torchvision.models.segmentation"),
    *("torchvision.models.video", "torchvision.models.optical_flow"),
)
"""Namespaces whose registered builders of networks are allowed, as those of `TIMM`."""

TIMM: Final = "timm.models"
NETS: Final = "monai.networks.nets"

TRANSFORMS: Final = ("compose", "croppad", "intensity", "smooth_field", "spatial")
"""Modules of `monai.transforms`; others read and write files, or call what their arguments name."""

LEFT_OUT: Final = (
    "monai.inferers.inferer.PatchInferer",  # imports what `merger_cls` names
    "monai.losses.perceptual",  # torch.hub.load
    "monai.networks.nets.cell_sam_wrapper",  # downloads
    "monai.networks.nets.hovernet",  # downloads what `pretrained_url` names
    "monai.networks.nets.milmodel",  # calls what `backbone` names
    "monai.networks.nets.netadapter",  # torch.fx
    "monai.networks.nets.torchvision_fc",  # torch.fx, and calls what `model_name` names
    "monai.networks.nets.transchex",  # downloads
    "torch.nn.modules.container.ModuleDict",  # names modules as its arguments say
    "torch.nn.modules.container.ParameterDict",
)
"""Modules and classes of these namespaces that by their arguments call or fetch what does not belong to a method."""


def may_be_public(name: str) -> bool:
    """Tells whether a dotted name stands in one of the namespaces, without importing anything."""
    namespace, _, last = name.rpartition(".")
    return namespace in (*CLASSES, *TORCHVISION, TIMM) and last.isidentifier()


def is_public(name: str, found: object) -> bool:
    """Tells whether every stored configuration may call something.

    Args:
        name: that it was found by.
        found: anything.
    """
    if not may_be_public(name):
        return False
    namespace, _, last = name.rpartition(".")
    if namespace in TORCHVISION:
        models = import_module("torchvision.models")
        return last in models.list_models() and models.get_model_builder(last) is found
    if namespace == TIMM:
        models = import_module(TIMM)
        return bool(models.is_model(last)) and models.model_entrypoint(last) is found
    home = f"{getattr(found, '__module__', None)}.{getattr(found, '__qualname__', None)}"
    if within(home, LEFT_OUT):
        return False
    if isinstance(found, type):
        return _is_part(namespace, found, home)
    return isinstance(found, FunctionType) and namespace == NETS and within(home, (NETS,)) and _builds_network(found)


def _is_part(namespace: str, found: type, home: str) -> bool:
    package, _, name = CLASSES[namespace].rpartition(".")
    if not issubclass(found, getattr(import_module(package), name)):
        return False
    return namespace != "monai.transforms" or within(home, tuple(f"{namespace}.{module}" for module in TRANSFORMS))


def _builds_network(function: FunctionType) -> bool:
    """Whether a function is declared to return a network."""
    try:
        returned = get_type_hints(function).get("return")
    except (NameError, TypeError):
        return False
    return isinstance(returned, type) and issubclass(returned, nn.Module)


def within(name: str, packages: tuple[str, ...]) -> bool:
    """Tells whether a dotted name is one of others, or lies below one.

    >>> within("torch.nn.Conv3d", ("torch.nn",)), within("torch.nnx", ("torch.nn",))
    (True, False)
    """
    return any(name == package or name.startswith(f"{package}.") for package in packages)
