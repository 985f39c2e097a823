"""The command line before Hydra sees it: paths without Hydra's quoting, and `resume=RUN`."""

import json
import re
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from kidney_lab.errors import InputError

PATH_KEYS = (
    "baseline",
    "data.root",
    "data.split",
    "data.test_root",
    "human",
    "hydra.run.dir",
    "hydra.sweep.dir",
    "images",
    "init",
    "input",
    "model.weights",
    "output",
    "predictions",
    "prepare.root",
    "published",
    "references",
    "resume",
    "run",
    "runs",
)
"""Keys whose values are paths: spaces, brackets, `=` and commas in them mean themselves."""

WEIGHTS = "model.weights"
"""Key whose value may be a mapping to paths as well, in Hydra's own braces: `{resnet50: PATH, vgg16: PATH}`."""

PATH_LIST_KEYS = ("runs",)
"""Keys of paths whose values may be lists of paths, as in `runs=[a/*,b/*]` or `runs=[a]`; what exists under that
name is itself."""

LIST_KEYS = ("data.cases", "data.exclude")
"""Keys whose values may be lists without brackets, as in `data.cases=3,7,10-12`; in a sweep a comma still sweeps."""

_MULTIRUN = ("-m", "--multirun")

_ROW_OF_PREDICTIONS = re.compile(r"rows\..+\.predictions")

_ASSIGNMENT = re.compile(r"(?P<key>[+~]{0,2}[^=]+)=(?P<value>.*)", re.DOTALL)


def quote_path(value: str) -> str:
    """Writes a path so that Hydra's override grammar reads exactly that path.

    Args:
        value: the path as the user typed it.

    Returns:
        The value in single quotes, unless it is quoted already: unquoted, `2026_11_21` would be a number.
    """
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return value
    # Backslashes matter to the grammar only in front of a quote or at the end of the string.
    escaped = re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), value)
    return f"'{escaped}'"


def unquote(value: str) -> str:
    """The path that `quote_path` was given."""
    if len(value) < 2 or value[0] != value[-1] or value[0] not in "'\"":
        return value
    quote = value[0]
    return re.sub(rf"(\\*)(\\{quote}|$)", lambda m: m[1][: len(m[1]) // 2] + (quote if m[2] else ""), value[1:-1])


def _is_one_bracket(value: str) -> bool:
    """Whether the last bracket closes the first, and both enclose everything, unlike in `[ab]/run[12]`."""
    depths = list(accumulate((letter == "[") - (letter == "]") for letter in value))
    return value.startswith("[") and len(value) > 2 and depths[-1] == 0 and min(depths[:-1]) > 0


def _paths_of(value: str) -> list[str]:
    """Paths of a list in brackets, in which one that holds a comma stands in quotes; none where it is a path itself.

    >>> _paths_of("[runs/a/*,'runs/b, c/*']"), _paths_of("runs/[ab]")
    (['runs/a/*', "'runs/b, c/*'"], [])
    """
    is_list = re.fullmatch(r"\[.*,.*\]", value, re.DOTALL) or _is_one_bracket(value)
    if not is_list or Path(value).exists():
        return []
    return [part.strip() for part in re.findall(r"""(?:'[^']*'|"[^"]*"|[^,])+""", value[1:-1])]


def _quote_argument(argument: str, multirun: bool) -> str:
    match = _ASSIGNMENT.fullmatch(argument)
    if match is None:
        return argument
    key, value = match["key"], match["value"]
    if key.lstrip("+") in LIST_KEYS and "," in value and value[0] not in "['\"" and not multirun:
        return f"{key}={quote_path(value)}"
    if key.lstrip("+") not in PATH_KEYS and not _ROW_OF_PREDICTIONS.fullmatch(key.lstrip("+")):
        return argument
    if key.lstrip("+") == WEIGHTS and re.fullmatch(r"\{.*\}", value) and not Path(value).exists():
        return argument
    if key.lstrip("+") in PATH_LIST_KEYS and (paths := _paths_of(value)):
        return f"{key}=[{','.join(map(quote_path, paths))}]"
    is_sweep = multirun and "," in value and not Path(value).exists()
    if not value or value == "null" or is_sweep:
        return argument
    return f"{key}={quote_path(value)}"


def _value_of(arguments: Sequence[str], key: str) -> str | None:
    for argument in reversed(arguments):
        match = _ASSIGNMENT.fullmatch(argument)
        if match is not None and match["key"].lstrip("+") == key:
            return match["value"]
    return None


def _name(override: str) -> str:
    return override.split("=", 1)[0].lstrip("+~")


def _with_stored_overrides(arguments: list[str], run: str) -> list[str]:
    """Adds the overrides that the run was started with to those given now, which win."""
    record = Path(run) / "run.json"
    if not record.is_file():
        raise InputError(
            f"resume={run} is no run folder: it has no run.json. Name the folder that an earlier training printed."
        )
    content = json.loads(record.read_text(encoding="utf-8"))
    given = {_name(argument) for argument in arguments}
    paths = {key: path for key, path in content["paths"].items() if key not in given}
    kept = [override for override in content["overrides"] if _name(override) not in {*given, *paths}]
    kept += [f"{key}={quote_path(path)}" for key, path in paths.items()]
    if any(argument in _MULTIRUN for argument in arguments):
        raise InputError(f"resume={run} goes on with one training: leave out -m.")
    kept.append(f"hydra.run.dir={quote_path(str(Path(run).resolve()))}")
    place = next(i for i, argument in enumerate(arguments) if _name(argument) == "resume")  # flags may stand before
    return [*arguments[:place], *kept, *arguments[place:]]


def prepare_arguments(arguments: Sequence[str]) -> list[str]:
    """Rewrites the command line into Hydra's grammar; applied twice it changes nothing more.

    `resume=RUN` becomes the run's own command line again, with today's overrides after it and the run folder as
    output. Path values are quoted.

    Args:
        arguments: what follows `python -m kidney_lab`.

    Returns:
        The arguments for Hydra.

    Raises:
        InputError: `resume` names a folder that is no run.
    """
    flags = [argument for argument in arguments if argument in _MULTIRUN]
    multirun = bool(flags)
    # Hydra takes no flag between overrides; this one comes to mind late.
    result = [*flags, *(argument for argument in arguments if argument not in _MULTIRUN)]
    run = _value_of(result, "resume")
    folder = _value_of(result, "hydra.run.dir")
    if run and run != "null" and folder is None:
        result = _with_stored_overrides(result, unquote(run))
    elif run and run != "null" and folder and Path(unquote(folder)).resolve() != Path(unquote(run)).resolve():
        raise InputError(f"resume={unquote(run)} writes into that run: leave out hydra.run.dir={unquote(folder)}.")
    return [_quote_argument(argument, multirun) for argument in result]
