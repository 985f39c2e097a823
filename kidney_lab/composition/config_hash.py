"""What a configuration is known by: short hashes of all that decides its results, and of where its inputs lie."""

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from kidney_lab.composition.decisive import MOVABLE, decisive, is_split_file


def config_hash(plain: dict[str, Any]) -> str:
    """Short name of a resolved configuration: equal for runs that should give equal results.

    The file of a split and the weights to begin with (`init`) count by what they hold, wherever they lie; one that
    cannot be found counts by its path.

    Args:
        plain: see `kidney_lab.composition.messages.to_plain`. Relative paths begin at the working directory.

    Returns:
        Twelve hexadecimal digits.
    """
    decides = decisive(plain)
    if decides.get("init") is not None:
        decides["init"] = contents_hash(str(decides["init"]))
    split = plain.get("data", {}).get("split")
    if is_split_file(split):
        decides["data"]["split"] = contents_hash(str(split))
    return _short_hash(decides)


def job_key(plain: dict[str, Any]) -> str:
    """Name of a job of a sweep, whatever its number.

    Args:
        plain: its resolved configuration.

    Returns:
        `<config_hash>-<hash of the paths in MOVABLE>`: jobs that differ in nothing but `data.root` are two, and yet
        alike where the data was moved.
    """
    return f"{config_hash(plain)}-{_short_hash(movable_paths(plain))}"


def movable_paths(plain: dict[str, Any]) -> dict[str, str]:
    """The paths of a plain configuration that are in `MOVABLE`, by their keys; those that are not set are left out."""
    named = {key: plain.get(key.partition(".")[0], {}).get(key.partition(".")[2]) for key in MOVABLE}
    return {key: str(path) for key, path in named.items() if path}


def contents_hash(path: str) -> str:
    """What a file holds, or the best checkpoints of a run folder, as a hash; the path where there is neither."""
    place = Path(path).expanduser()
    files = [place] if place.is_file() else sorted(place.glob("stages/*/best.ckpt"))
    if not files:
        return path
    return _short_hash([["" if file == place else file.parent.name, _hash_of(file)] for file in files])


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
