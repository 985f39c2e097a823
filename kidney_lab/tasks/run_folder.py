"""A run folder: the composed config, the log, and `run.json`, the record of what was done with what."""

import hashlib
import json
import logging
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from kidney_lab.composition.messages import to_plain
from kidney_lab.errors import InputError
from kidney_lab.files import write_text
from kidney_lab.memory import overall_peak_mib

PACKAGES = ("kidney-lab", "torch", "pytorch-lightning", "monai", "hydra-core", "numpy", "scipy")
HOW = (
    *("trainer.", "logger", "callbacks.", "prepare.", "task.", "data.num_workers", "data.max_time"),
    *("metrics", "lesions"),
)
"""Keys that say how a training is run and scored, not what it learns; a resumed training may change them."""
_PATHS = ("root", "test_root", "source", "init", "resume", "hydra", "dirpath", "save_dir")

log = logging.getLogger("kidney_lab")


def is_first_process() -> bool:
    """False in the processes that Lightning starts beside the first for multi-GPU training."""
    return os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("NODE_RANK", "0") == "0"


@dataclass
class RunFolder:
    """One output folder of a training.

    Args:
        path: of the folder.
        record: what `run.json` holds.
        sweep: folder of the sweep whose job the run is; None: of none.
    """

    path: Path
    record: dict[str, Any] = field(default_factory=dict)
    sweep: Path | None = None

    @classmethod
    def open(cls, config: DictConfig) -> "RunFolder":
        """Starts a run in Hydra's output folder, or goes on with the one that is there.

        Raises:
            InputError: the folder holds a run already and `resume` does not name it.
        """
        hydra = HydraConfig.get()
        sweep = Path(hydra.sweep.dir) if hydra.mode == RunMode.MULTIRUN else None
        run = cls(Path(hydra.runtime.output_dir), sweep=sweep)
        record = run.path / "run.json"
        if record.is_file():
            run.record = json.loads(record.read_text(encoding="utf-8"))
            if config.resume is None and is_first_process():
                raise InputError(
                    f"hydra.run.dir={run.path} holds a run already: go on with it by resume={run.path}, "
                    "or choose another folder."
                )
            refuse_changes(run.path, to_plain(config))
        if not run.record:
            run.record = {"stages": {}, "started": _now(), "resumed": []}
            run.record.update(_provenance(config, [str(item) for item in hydra.overrides.task]))
        else:
            commit, dirty = _commit()
            run.record["resumed"].append({"time": _now(), "commit": commit, "dirty": dirty})
        return run

    def update(self, **values: Any) -> None:
        """Adds to the record and writes it, in the first process only."""
        self.record.update(values)
        if is_first_process():
            write_text(self.path / "run.json", json.dumps(self.record, indent=2) + "\n")

    @contextmanager
    def recording(self, config: DictConfig) -> Iterator[None]:
        """Writes `config.yaml`, logs into `run.log`, and keeps the status in `run.json`.

        The status is running, then finished, interrupted or failed.
        """
        if is_first_process():
            write_text(self.path / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(to_plain(config))))
        started, before = time.monotonic(), float(self.record.get("wall_time_s", 0.0))
        self.update(status="running")
        with _log_file(self.path / "run.log"):
            status = "failed"
            try:
                yield
                status = "finished"
            except KeyboardInterrupt:
                status = "interrupted"
                raise
            except InputError as error:
                log.info("the run cannot go on: %s", error)
                raise
            except Exception:
                log.exception("the run failed")  # into the file; the screen gets the traceback when the program ends
                raise
            finally:
                self.update(
                    status=status,
                    finished=_now(),
                    wall_time_s=round(before + time.monotonic() - started, 1),
                    peak_memory_mib=round(overall_peak_mib(), 1),
                )


def refuse_changes(run: Path, now: dict[str, Any]) -> None:
    """Makes sure that a resumed training is the one that was begun.

    How it is run may change (trainer, logger, callbacks, workers), what is learned may not.

    Raises:
        InputError: names the values that differ.
    """
    stored = OmegaConf.load(run / "config.yaml") if (run / "config.yaml").is_file() else None
    if not isinstance(stored, DictConfig):
        return  # it ended before it wrote anything
    before, after = (_leaves(_without_paths(plain)) for plain in (to_plain(stored), now))
    changed = [
        f"{key} was {before.get(key)!r} and is {after.get(key)!r}"
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key) and not key.startswith(HOW) and not f".{key}".endswith(".augment.device")
    ]
    if changed:
        raise InputError.of(
            f"resume={run} goes on with the very training that was begun, but the configuration differs; leave the "
            f"overrides out, or begin a new training from its weights by init={run}:",
            changed,
        )


def _leaves(node: Any, prefix: str = "") -> dict[str, Any]:
    """Values of a nested mapping by their dotted keys; of lists of mappings the place is part of the key."""
    if isinstance(node, list) and any(isinstance(item, dict) for item in node):
        node = dict(enumerate(node))
    if not isinstance(node, dict):
        return {prefix.removeprefix("."): node}
    return {name: value for key, item in node.items() for name, value in _leaves(item, f"{prefix}.{key}").items()}


def config_hash(plain: dict[str, Any]) -> str:
    """Short name of a resolved configuration without its paths: equal for runs that should give equal results."""
    return hashlib.sha256(json.dumps(_without_paths(plain), sort_keys=True).encode()).hexdigest()[:12]


def _without_paths(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _without_paths(_or_file(key, value)) for key, value in node.items() if key not in _PATHS}
    return [_without_paths(item) for item in node] if isinstance(node, list) else node


def _or_file(key: str, value: Any) -> Any:
    """A split's file may move; its cases are compared by their hash."""
    return "a file" if key == "split" and str(value).endswith(".json") else value


def _paths(config: DictConfig) -> list[tuple[str, str | None]]:
    data = config.data
    split = data.split if str(data.split).endswith(".json") else None
    return [
        ("data.root", data.root),
        ("data.test_root", data.test_root),
        ("data.split", split),
        ("prepare.root", config.prepare.root),
    ]


def _provenance(config: DictConfig, overrides: list[str]) -> dict[str, Any]:
    choices = HydraConfig.get().runtime.choices
    commit, dirty = _commit()
    return {
        "name": f"{choices['model']}-{choices['data']}",
        "overrides": [item for item in overrides if not item.startswith("resume=")],
        # Absolute, so that the run can be gone on with from any working directory.
        "paths": {key: str(Path(path).expanduser().resolve()) for key, path in _paths(config) if path},
        "config_hash": config_hash(to_plain(config)),
        "seed": config.seed,
        "commit": commit,
        "dirty": dirty,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    }


def _commit() -> tuple[str | None, bool | None]:
    """Commit of the checkout that the code runs from, and whether it was changed since; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None, None
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True)
        status = subprocess.run(["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None, None
    return commit.stdout.strip(), bool(status.stdout.strip())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    """Sends the log of this project and of Lightning to a file, and warnings (all, off a terminal) to the screen."""
    if not is_first_process():
        yield
        return
    to_file = logging.FileHandler(path, encoding="utf-8")
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    to_screen = logging.StreamHandler()
    to_screen.setFormatter(logging.Formatter("%(message)s"))
    to_screen.addFilter(lambda entry: entry.exc_info is None)
    to_screen.setLevel(logging.WARNING if sys.stderr.isatty() else logging.INFO)
    loggers = [logging.getLogger(name) for name in ("kidney_lab", "pytorch_lightning", "lightning")]
    for logger in loggers:
        logger.setLevel(logging.INFO)
        logger.handlers = [to_file, to_screen] if logger.name == "kidney_lab" else [to_file]
        logger.propagate = False
    logging.captureWarnings(True)
    warnings = logging.getLogger("py.warnings")
    warnings.addHandler(to_file)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        for logger in (*loggers, warnings):
            logger.removeHandler(to_file)
            logger.removeHandler(to_screen)
        to_file.close()
