"""What of a run may leave the machine: its configuration and record without paths, accounts and names of cases."""

from collections.abc import Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Final

_SECTIONS: Final = ("hydra", "logger", "prepare", "init", "resume", "sweep")
"""Sections of a configuration that say where and for whom it ran, not what was learned."""

_PATHS: Final = (
    *("root", "test_root", "dirpath", "save_dir", "default_root_dir", "cache_dir"),
    *("split", "splits", "weights", "predictions"),
)
"""Keys whose values are paths, or words, which are their own last part; so are those of a mapping under them."""

_RECORD: Final = (
    *("name", "config_hash", "seed", "commit", "dirty", "versions", "device", "precision", "stages", "started"),
    *("finished", "wall_time_s", "cost_per_case", "status"),
)
_DATA: Final = (
    *("name", "synthesized", "n_train", "n_val", "n_test", "split", "fold", "split_hash", "scored", "exclude"),
    "annotation",
)


def public_config(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a run, as far as others can use it.

    Args:
        plain: resolved, of plain mappings and lists.

    Returns:
        The same without sections of one machine; of a path, such as that of pretrained weights, its last part stays.
    """
    return {key: _without_folders(value, key) for key, value in plain.items() if key not in _SECTIONS}


def public_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """What `run.json` says of a run, as far as others can use it.

    Args:
        record: of `run.json`.

    Returns:
        The entries that name no path and no case, whose names may be those of patients.
    """
    kept = {key: record[key] for key in _RECORD if key in record}
    data = record.get("data") or {}
    kept["data"] = {key: data[key] for key in _DATA if key in data}
    kept["data"]["n_excluded"] = data.get("n_excluded", len(data.get("excluded") or []))  # of a bundle, of a run
    return {key: _without_folders(value, key) for key, value in kept.items()}


def _without_folders(node: Any, key: str) -> Any:
    if isinstance(node, Mapping):
        return {name: _without_folders(value, key if key in _PATHS else str(name)) for name, value in node.items()}
    if isinstance(node, list | tuple):
        return [_without_folders(item, key) for item in node]
    return last_part(node) if isinstance(node, str) and (key in _PATHS or _is_path(node)) else node


def _is_path(text: str) -> bool:
    absolute = PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute()
    return absolute or text.startswith(("~", "./", "../", "file:"))


def last_part(path: str) -> str:
    r"""The name at the end of a path of any system.

    >>> last_part("/data/kits23/"), last_part(r"C:\weights\mask.pth")
    ('kits23', 'mask.pth')
    """
    return PureWindowsPath(path).name
