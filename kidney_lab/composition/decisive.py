"""Which keys of a configuration decide what a run gives, and which say where its inputs lie or how it is run.

The hash of a configuration, the jobs of a sweep, a training that is gone on with and the rows of a report go by this.
"""

from collections.abc import Iterable
from typing import Any, Final

MOVABLE: Final = ("data.root", "data.test_root", "prepare.root")
"""Folders that are copied to another disk, and hold the same there."""

OF_THE_RUN: Final = (
    *("resume", "sweep", "hydra", "data.source", "data.num_workers", "prepare", "logger", "experiment.compare"),
    *("trust", "inference.memory_gib"),
    *("trainer.enable_progress_bar", "trainer.profiler", "trainer.log_every_n_steps"),
    *("callbacks.slices", "callbacks.confidence", "callbacks.heatmaps", "callbacks.last", "callbacks.epochs"),
)
"""How a run is started, loaded, shown and reported."""

_OF_THE_START: Final = ("resume=", "sweep.")
"""Beginnings of overrides that say how a run was started, not what it is."""

_WRITTEN_TO: Final = ("dirpath", "save_dir")
"""Keys of folders that callbacks and loggers write to, wherever they stand."""


def is_decisive(key: str) -> bool:
    """Whether a dotted key decides what a run gives; that of a node or group does if anything else below it does."""
    return not _is_below(key, (*MOVABLE, *OF_THE_RUN)) and key.rpartition(".")[2] not in _WRITTEN_TO


def decisive(plain: dict[str, Any]) -> dict[str, Any]:
    """A copy of a plain configuration with the keys alone that decide what a run gives.

    `init` and the split's file are among them, and stay the paths that they are.
    """
    kept: dict[str, Any] = _decisive(plain, "")
    return kept


def lasting(overrides: Iterable[str]) -> list[str]:
    """Overrides without those that say how a run was started or gone on with."""
    return [item for item in overrides if not item.lstrip("+").startswith(_OF_THE_START)]


def is_split_file(split: Any) -> bool:
    """Whether a value of `data.split` is a file, and no name of a split."""
    return str(split).endswith(".json")


def _decisive(node: Any, prefix: str) -> Any:
    if isinstance(node, dict):
        return {
            key: _decisive(value, f"{prefix}{key}.") for key, value in node.items() if is_decisive(f"{prefix}{key}")
        }
    return [_decisive(item, f"{prefix}.") for item in node] if isinstance(node, list) else node


def _is_below(key: str, nodes: tuple[str, ...]) -> bool:
    return any(key == node or key.startswith(f"{node}.") for node in nodes)
