"""What a configuration is known by: short hashes of all that decides its results, and of where its inputs lie."""

import hashlib
import json
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

_LEFT_OUT = ("root", "test_root", "init", "resume", "sweep", "hydra", "dirpath", "save_dir")

MOVABLE: Final = ("data.root", "data.test_root", "prepare.root")
"""Folders that are copied to another disk, and hold the same there."""
_OF_THE_RUN: Final = (
    *("resume", "sweep", "hydra", "data.source", "data.num_workers", "prepare", "logger", "experiment.compare"),
    *("trust", "inference.memory_gib"),
    *("trainer.enable_progress_bar", "trainer.profiler", "trainer.log_every_n_steps"),
)
"""What says how a job is run or reported: a sweep whose jobs differ in it from former ones takes those as its own."""


def config_hash(plain: dict[str, Any]) -> str:
    """Short name of a resolved configuration without its paths: equal for runs that should give equal results.

    Args:
        plain: see `kidney_lab.composition.messages.to_plain`.

    Returns:
        Twelve hexadecimal digits.
    """
    return _short_hash(without_paths(plain))


def job_key(plain: dict[str, Any]) -> str:
    """Name of a job of a sweep, whatever its number.

    The file of a split and the weights to begin with (`init`) count by what they hold, wherever they lie; one that
    cannot be found counts by its path.

    Args:
        plain: its resolved configuration. Relative paths begin at the working directory.

    Returns:
        `<hash of what decides its results>-<hash of the paths in MOVABLE>`: jobs that differ in nothing but `data.root`
        are two, and yet alike where the data was moved.
    """
    decides = _without(plain, (*MOVABLE, *_OF_THE_RUN))
    if decides.get("init") is not None:
        decides["init"] = contents_hash(str(decides["init"]))
    split = plain.get("data", {}).get("split")
    if _is_file(split):
        decides["data"]["split"] = contents_hash(str(split))
    return f"{_short_hash(decides)}-{_short_hash(movable_paths(plain))}"


def movable_paths(plain: dict[str, Any]) -> dict[str, str]:
    """The paths of a plain configuration that are in `MOVABLE`, by their keys; those that are not set are left out."""
    named = {key: plain.get(key.partition(".")[0], {}).get(key.partition(".")[2]) for key in MOVABLE}
    return {key: str(path) for key, path in named.items() if path}


def without_paths(node: Any) -> Any:
    """A plain configuration, or a part of one, without what says where things lie and how it was started."""
    if isinstance(node, dict):
        return {
            key: without_paths(_or_file(key, value))
            for key, value in node.items()
            if key not in _LEFT_OUT and not _is_hosting(key, value)
        }
    return [without_paths(item) for item in node] if isinstance(node, list) else node


def contents_hash(path: str) -> str:
    """What a file holds, or the best checkpoints of a run folder, as a hash; the path where there is neither."""
    place = Path(path).expanduser()
    files = [place] if place.is_file() else sorted(place.glob("stages/*/best.ckpt"))
    if not files:
        return path
    return _short_hash([["" if file == place else file.parent.name, _hash_of(file)] for file in files])


def _without(node: Any, keys: Collection[str], prefix: str = "") -> Any:
    """A plain configuration without some dotted keys, and without the folders that callbacks write to."""
    if isinstance(node, dict):
        return {
            key: _without(value, keys, f"{prefix}{key}.")
            for key, value in node.items()
            if f"{prefix}{key}" not in keys and key not in ("dirpath", "save_dir")
        }
    return [_without(item, keys, f"{prefix}.") for item in node] if isinstance(node, list) else node


def _is_hosting(key: str, value: Any) -> bool:
    """Whether an entry says where a dataset is downloaded from; the source of a region of interest is a word."""
    return key == "source" and isinstance(value, dict)


def _or_file(key: str, value: Any) -> Any:
    """A split's file may move; its cases are compared by their hash."""
    return "a file" if key == "split" and _is_file(value) else value


def _is_file(split: Any) -> bool:
    return str(split).endswith(".json")


def _hash_of(file: Path) -> str:
    stat = file.stat()
    return _hash_once(file.resolve(), stat.st_mtime_ns, stat.st_size)


@lru_cache
def _hash_once(file: Path, time_ns: int, size: int) -> str:
    """Jobs of a sweep name the same weights, which are read once."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _short_hash(node: Any) -> str:
    return hashlib.sha256(json.dumps(node, sort_keys=True).encode()).hexdigest()[:12]
