"""Turns what Hydra and OmegaConf say about a wrong configuration into one sentence that names the choices."""

import difflib
import re
from collections.abc import Sequence
from typing import Any, Final

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, InterpolationKeyError, MissingMandatoryValue, OmegaConfBaseException

from kidney_lab.composition.search_path import config_folder
from kidney_lab.errors import InputError

USER_ERRORS: tuple[type[Exception], ...] = (InputError, HydraException, OmegaConfBaseException)
"""What a wrong input or configuration raises; anything else is a fault of the program."""

_ADDED: Final = {"experiment": "a table is named by +experiments=<paper>/<table>"}


def describe(error: Exception, overrides: Sequence[str]) -> str:
    """Explains a configuration error.

    Args:
        error: what composing or instantiating raised.
        overrides: the command line's overrides, needed to look up the keys that would have been allowed.

    Returns:
        One sentence (a list under it where several things are wrong).
    """
    inner = _input_error(error)
    if inner is not None:
        return str(inner)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file is not None:
        return _unknown_option(error)
    if isinstance(error, ConfigCompositionException) and (said := _wrong_key(error, overrides)):
        return said
    if isinstance(error, OverrideParseException):
        return f"{error.override} cannot be read as key=value: {error.message.splitlines()[0]}."
    if isinstance(error, InstantiationException):
        return f"{error}".replace("\n", " ")
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key}= is missing: give it a value on the command line."
    if isinstance(error, InterpolationKeyError) and (named := re.search(r"'([^']+)' not found", str(error))):
        return (
            f"One of the options takes a value from {named[1]}, which the others do not have: choose options that go "
            "together, such as the view= that the model brings."
        )
    if isinstance(error, ConfigKeyError) and error.parent_node is not None:
        return _unknown_in(str(error.full_key), list(error.parent_node))
    return " ".join(str(error).split())


def is_fault(error: Exception) -> bool:
    """Whether what failed inside a constructor is a fault of the program, and not a setting that it cannot take."""
    if not isinstance(error, InstantiationException) or _input_error(error) is not None:
        return False
    return error.__cause__ is not None and not isinstance(
        error.__cause__, (TypeError, ValueError, ImportError, HydraException)
    )


def _input_error(error: BaseException | None) -> InputError | None:
    """Finds the user's error inside the exceptions that Hydra wraps around it."""
    while error is not None:
        if isinstance(error, InputError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _unknown_option(error: MissingConfigException) -> str:
    group, _, option = str(error.missing_cfg_file).rpartition("/")
    if not error.options:
        names = _experiments() if group.startswith("experiments") else []
        close = difflib.get_close_matches(str(error.missing_cfg_file).removeprefix("experiments/"), names, n=1)
        if close:
            return f"There is no config named {error.missing_cfg_file}: did you mean +experiments={close[0]}?"
        return f"There is no config named {error.missing_cfg_file}: see --help for the groups and their options."
    return _with_guess(f"{group}={option} is unknown", option, sorted(set(error.options)))


def _wrong_key(error: ConfigCompositionException, overrides: Sequence[str]) -> str | None:
    """What an override's key has to be, where it is the key that is wrong."""
    if unknown := re.search(r"Could not override '([^']+)'", str(error)):
        return _suggest_key(unknown[1].split("@")[0], overrides)
    if twice := re.search(r"An item is already at '([^']+)'", str(error)):
        return f"+{twice[1]}= adds a key that is there already: {_ADDED.get(twice[1], 'leave out the plus sign')}."
    return None


def _suggest_key(key: str, overrides: Sequence[str]) -> str:
    """Names the keys beside which an unknown one was meant to stand."""
    if key == "experiments" or key.startswith("rows."):
        wanted = "experiments=<paper>/<table>" if key == "experiments" else f"{key}=DIR"
        return f"{key}= is no key by itself: write +{wanted}, with the plus sign."
    parts = key.replace("/", ".").split(".")
    try:
        node: Any = _compose_without(key, overrides)
    except USER_ERRORS:
        node = _compose_without(key, [])  # something else is wrong as well: the defaults still name the choices
    while len(parts) > 1 and isinstance(node, DictConfig) and parts[0] in node:
        node = node._get_node(parts.pop(0))
        if isinstance(node, DictConfig) and node._is_interpolation():
            node = node._dereference_node()
    if not isinstance(node, DictConfig) or node._is_missing() or node._is_none():
        return f"{key} is unknown: {'.'.join(key.split('.')[: -len(parts)])} holds a value and no further keys."
    return _unknown_in(key, [str(name) for name in node], last=parts[0])


def _unknown_in(key: str, choices: Sequence[str], last: str | None = None) -> str:
    return _with_guess(f"{key} is unknown", last or key.rpartition(".")[2], [str(choice) for choice in choices])


def _with_guess(sentence: str, wrong: str, choices: Sequence[str]) -> str:
    close = difflib.get_close_matches(wrong, choices, n=1)
    guess = f" (did you mean {close[0]}?)" if close else ""
    return f"{sentence}{guess}: choose one of {', '.join(choices)}."


def _compose_without(key: str, overrides: Sequence[str]) -> DictConfig:
    """The configuration as it would be without the overrides of an unknown key."""
    kept = [
        override
        for override in overrides
        if "=" in override
        and not override.startswith("-")
        and override.split("=", 1)[0].lstrip("+~") != key
        and not _sweeps(override)
    ]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return compose("config", overrides=kept)


def _sweeps(override: str) -> bool:
    """Whether an override is that of several jobs: none of its values is needed to tell which keys there are."""
    try:
        return OverridesParser.create().parse_override(override).is_sweep_override()
    except HydraException:
        return False


def _experiments() -> list[str]:
    """Names of all experiments, `<paper>/<table>`."""
    folder = config_folder().parent / "experiments"  # beside it in a checkout and in a wheel
    return sorted(file.relative_to(folder).with_suffix("").as_posix() for file in folder.glob("*/*.yaml"))


def to_plain(config: DictConfig) -> dict[str, Any]:
    """The resolved configuration as plain Python containers, as it is written into a run."""
    plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
    if not isinstance(plain, dict):
        raise TypeError(f"expected a mapping at the top of the configuration, got {type(plain).__name__}")
    return {str(key): value for key, value in plain.items()}
