"""What the configuration of a run or a bundle may call: it may be a stranger's, and `_target_` calls whatever it names.

Allowed are the parts that methods are made of: exact public names of torch, MONAI, torchvision, timm and
segmentation_models_pytorch (`kidney_lab.composition.public_parts`), and classes of this package. Every module shows
what it imports (`kidney_lab.methods.fit.shutil.rmtree`), so names of this package are followed to the object, and its
own module counts, not the path that led there. Nothing else is followed, for importing a module runs it.

What these parts are given is checked too: no address to load from, and no key that could be more than a name where a
library writes it into code.

What somebody composes on the command line is theirs, and not restricted.
"""

import re
from collections.abc import Iterator, Sequence
from importlib import import_module
from types import FunctionType, ModuleType
from typing import Any, Final

from omegaconf import DictConfig, OmegaConf

from kidney_lab.composition.public_parts import is_public, may_be_public, within
from kidney_lab.errors import InputError

OWN: Final = (
    *("kidney_lab.data.views", "kidney_lab.losses", "kidney_lab.methods", "kidney_lab.networks"),
    "kidney_lab.transforms",
)
"""Packages of this project whose classes are allowed."""

NAMED: Final = (
    "kidney_lab.data.prepare.GridRecipe",
    "kidney_lab.inference.combine.NestedRegions",
    "kidney_lab.inference.ensemble.Ensemble",
    "kidney_lab.losses.difficulty.difficulty_weight",
    "kidney_lab.losses.difficulty.power_weight",
    "kidney_lab.methods.output.build_output",
    "kidney_lab.networks.deeplabv3.build_deeplabv3",
)
"""Single classes and functions of this project that `conf/` composes methods of."""

REFUSED_KEYS: Final = (
    *("cache_dir", "checkpoint_path", "feature_cls", "hf_hub_id", "pretrained_cfg", "pretrained_cfg_overlay"),
    "pretrained_url",
)
"""Arguments by which timm and others load from any place, or make networks by torch.fx."""

_NAME: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_KEY: Final = re.compile(r"[\w.\- ]*")
_ADDRESS: Final = re.compile(r"://|(hf[-_]hub|local[-_]dir):", re.IGNORECASE)
_UNSEEN: Final = re.compile(r"[\s\x00-\x1f\x7f]")


def read_trust(trust: object) -> tuple[str, ...]:
    """The names that a user trusts.

    Args:
        trust: value of `trust`: a list of dotted names, a single one, or None.

    Raises:
        InputError: it is something else.
    """
    names = [trust] if isinstance(trust, str) else [] if trust is None else trust
    if not isinstance(names, Sequence) or not all(isinstance(name, str) and _NAME.fullmatch(name) for name in names):
        raise InputError(f"trust={trust} is no list of names in Python: write trust=[my_lab.networks].")
    return tuple(names)


def refuse_untrusted(config: DictConfig, file: object, trust: Sequence[str] = ()) -> None:
    """Makes sure that a stored configuration calls nothing but parts of methods; nothing of it is called here.

    Args:
        config: the whole configuration, of which `model` is what is instantiated.
        file: that it was read from, for messages.
        trust: further names of packages, modules, classes or functions that it may call.

    Raises:
        InputError: it calls something else, something that is not there, or gives it what it may not; or it holds
            interpolations, by which a value would be another one when it is used than when it is checked.
    """
    plain = OmegaConf.to_container(config, resolve=False)
    for key, value in _leaves(plain):
        if isinstance(value, str) and "${" in value:
            raise InputError(
                f"{file} holds the interpolation {key}={value}, and trainings store values: take it from the run anew, "
                "or write the value in its place."
            )
    for key, target in _targets(plain):
        if key.startswith("model."):
            check_target(target, f"{file} calls {key}={target}", trust)
    if isinstance(plain, dict):
        _check_given(plain.get("model"), "model", file, tuple(trust))


def named_in(config: DictConfig) -> tuple[str, ...]:
    """Names of everything that a configuration calls for its method: what whoever composed it trusts."""
    return tuple({str(target) for _, target in _targets(OmegaConf.to_container(config.model, resolve=True))})


def check_target(target: object, said: str, trust: Sequence[str] = ()) -> None:
    """Makes sure that a name is one that a stored configuration may call.

    Args:
        target: dotted name.
        said: beginning of the sentence that refuses it.
        trust: see `refuse_untrusted`.

    Raises:
        InputError: it is not, or nothing has that name.
    """
    refused = (
        f"{said}, which is no part of methods that is known to be harmless: if you know it, and trust whoever made the "
        f"run, add trust=[{target}]."
    )
    if not isinstance(target, str) or not (within(target, tuple(trust)) or _may_be_harmless(target)):
        raise InputError(refused)
    try:
        found = locate(target)
    except (ImportError, AttributeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{said}, which is not there ({reason}): install what the run was trained with.") from error
    if not (target in trust or is_allowed(target, found, trust)):
        raise InputError(refused)


def _may_be_harmless(name: str) -> bool:
    """Whether a name may be followed, which imports what it begins with."""
    hidden = any(part.startswith("_") for part in name.split("."))
    return not hidden and (may_be_public(name) or within(name, (*OWN, *NAMED)))


def locate(name: str) -> object:
    """The object that Hydra would find by a dotted name: attributes go before modules.

    Raises:
        ImportError: nothing has that name.
    """
    first, *others = name.split(".")
    found: object = import_module(first)
    path = first
    for part in others:
        path = f"{path}.{part}"
        if isinstance(found, ModuleType) and not hasattr(found, part):
            found = import_module(path)
        else:
            found = getattr(found, part)
    return found


def is_allowed(name: str, found: object, trust: Sequence[str] = ()) -> bool:
    """Tells whether a stored configuration may call an object, by where it is defined.

    Args:
        name: that it was found by.
        found: anything.
        trust: see `refuse_untrusted`.
    """
    home = f"{getattr(found, '__module__', None)}.{getattr(found, '__qualname__', None)}"
    if within(home, tuple(trust)):
        return callable(found)
    if not _may_be_harmless(name):
        return False
    if isinstance(found, type) and within(home, (*OWN, *NAMED)):
        return True
    return (isinstance(found, FunctionType) and home in NAMED) or is_public(name, found)


def _check_given(node: Any, key: str, file: object, trust: tuple[str, ...], caller: str | None = None) -> None:
    """Makes sure that what is called is given names and numbers, wherever it is given them.

    Args:
        node: of the configuration.
        key: of the node, dotted.
        file: that it was read from, for messages.
        trust: see `refuse_untrusted`; what is trusted may be given anything.
        caller: the innermost `_target_` that the node belongs to; None: nothing is made of it.

    Raises:
        InputError: a key or a value may not be given.
    """
    if isinstance(node, dict):
        caller = node.get("_target_", caller)
    checked = caller is not None and not within(caller, trust)
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, value in items:
        if checked and isinstance(node, dict) and (name in REFUSED_KEYS or not _KEY.fullmatch(str(name))):
            raise InputError(
                f"{file} gives {caller} the key {str(name)!r} in {key}, and keys are letters, digits, spaces and _.-, "
                f"and none of {', '.join(REFUSED_KEYS)}: if you trust whoever made the run, add trust=[{caller}]."
            )
        _check_given(value, f"{key}.{name}", file, trust, caller)
    if checked and isinstance(node, str | bytes) and _ADDRESS.search(_UNSEEN.sub("", str(node))):
        raise InputError(
            f"{file} gives {caller} an address to load from, {key}={node!r}: if you trust whoever made the run, add "
            f"trust=[{caller}]."
        )


def _targets(node: Any) -> Iterator[tuple[str, Any]]:
    """What is called in a configuration, by its dotted key, wherever it stands."""
    return ((key, value) for key, value in _leaves(node) if key.rpartition(".")[2] == "_target_")


def _leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Values of nested mappings and lists by their dotted keys; of a `_target_` whatever it is."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else None
    if inner is None or key.rpartition(".")[2] == "_target_":
        yield key, node
        return
    for name, value in inner:
        yield from _leaves(value, f"{key}.{name}" if key else str(name))
