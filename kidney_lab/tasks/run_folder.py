"""A run folder: the composed config, the log, and `run.json`, the record of what was done with what."""

import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from kidney_lab.composition.arguments import WEIGHTS, quote_path
from kidney_lab.composition.config_hash import contents_hash
from kidney_lab.composition.decisive import decisive, is_split_file
from kidney_lab.composition.messages import to_plain
from kidney_lab.errors import InputError
from kidney_lab.files import write_text
from kidney_lab.heartbeat import beating, this_process
from kidney_lab.inference.member_runs import KEY, member_paths
from kidney_lab.memory import overall_peak_mib
from kidney_lab.tasks.provenance import checkout, provenance, utc_now

HOW = ("trainer.", "callbacks.", "task.", "data.max_time", "metrics", "lesions")
"""Keys that say for how long a training goes on, on what, and how it is scored; a resumed one may change them."""

log = logging.getLogger("kidney_lab")


def is_first_process() -> bool:
    """False in all but one of the processes that share a training, on however many machines."""
    return "TORCHELASTIC_RUN_ID" not in os.environ or os.environ["RANK"] == "0"


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
        begun = bool(run.record) and (sweep is None or (run.path / "config.yaml").is_file())
        if begun and config.resume is None and is_first_process():
            raise InputError(
                f"hydra.run.dir={run.path} holds a run already: go on with it by resume={run.path}, "
                "or choose another folder."
            )
        if begun:
            refuse_changes(run.path, to_plain(config), run.record.get("paths", {}))
            commit, dirty = checkout()
            run.record["resumed"].append({"time": utc_now(), "commit": commit, "dirty": dirty})
        else:  # a job of a sweep has a record from its start
            run.record = {"stages": {}, "started": utc_now(), "resumed": [], **run.record}
            run.record.update(provenance(config, _overrides(config)))
        return run

    def update(self, **values: Any) -> None:
        """Adds to the record and writes it, in the first process only."""
        self.record.update(values)
        if is_first_process():
            write_text(self.path / "run.json", json.dumps(self.record, indent=2) + "\n")

    def reread(self) -> None:
        """Takes over what other processes of the training have added to the record."""
        self.record = json.loads((self.path / "run.json").read_text(encoding="utf-8"))

    @contextmanager
    def recording(self, config: DictConfig) -> Iterator[None]:
        """Writes `config.yaml`, logs into `run.log`, and keeps the status in `run.json`.

        The status is running, then finished, interrupted or failed.
        """
        if is_first_process():
            write_text(self.path / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(to_plain(config))))
        started, before = time.monotonic(), float(self.record.get("wall_time_s", 0.0))
        self.update(status="running", process=this_process())
        with beating(self.path / "run.json"), log_file(self.path / "run.log"):
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
                    finished=utc_now(),
                    wall_time_s=round(before + time.monotonic() - started, 1),
                    peak_memory_mib=max(round(overall_peak_mib(), 1), self.record.get("peak_memory_mib", 0.0)),
                )


def refuse_changes(run: Path, now: dict[str, Any], paths: Mapping[str, str] = MappingProxyType({})) -> None:
    """Makes sure that a resumed training is the one that was begun.

    How it is run may change (trainer, logger, callbacks, workers), what is learned may not.

    Args:
        run: folder of the run.
        now: the configuration, plain.
        paths: absolute ones by their keys, as `run.json` has them: another way to write one is no change.

    Raises:
        InputError: names the values that differ.
    """
    stored = OmegaConf.load(run / "config.yaml") if (run / "config.yaml").is_file() else None
    if not isinstance(stored, DictConfig):
        return  # it ended before it wrote anything
    before, after = (_leaves(decisive(plain)) for plain in (to_plain(stored), now))
    changed = [
        f"{key} was {before.get(key)!r} and is {after.get(key)!r}"
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
        and not key.startswith(HOW)
        and not f".{key}".endswith(".augment.device")
        and not _is_same_file(key, before.get(key), after.get(key), paths)
    ]
    if changed:
        raise InputError.of(
            f"resume={run} goes on with the very training that was begun, but the configuration differs; leave the "
            f"overrides out, or begin a new training from its weights by init={run}:",
            changed,
        )


def _is_same_file(key: str, before: Any, after: Any, paths: Mapping[str, str]) -> bool:
    """Whether two values are paths of what is the same.

    Those of a split may differ, since its cases are compared by themselves; `init` may by where its weights lie.
    """
    if key == "data.split":
        return is_split_file(before) and is_split_file(after)
    if key == "init":
        return None not in (before, after) and contents_hash(paths.get(key, before)) == contents_hash(str(after))
    path = str(Path(str(after)).expanduser().resolve())
    if key.startswith("model.stages.") and key.endswith(".weights"):  # stands in the stages that begin with them too
        return path in [kept for name, kept in paths.items() if name.startswith(WEIGHTS)]
    return paths.get(key) == path


def _leaves(node: Any, prefix: str = "") -> dict[str, Any]:
    """Values of a nested mapping by their dotted keys; of lists of mappings the place is part of the key."""
    if isinstance(node, list) and any(isinstance(item, dict) for item in node):
        node = dict(enumerate(node))
    if not isinstance(node, dict):
        return {prefix.removeprefix("."): node}
    return {name: value for key, item in node.items() for name, value in _leaves(item, f"{prefix}.{key}").items()}


def _overrides(config: DictConfig) -> list[str]:
    """The command line's, such that they mean the same from any working directory."""
    members = f"[{','.join(map(quote_path, member_paths(config)))}]"
    keys = {str(item): str(item).partition("=")[0] for item in HydraConfig.get().overrides.task}
    return [f"{key}={members}" if key.lstrip("+") == KEY else item for item, key in keys.items()]


@contextmanager
def log_file(path: Path) -> Iterator[None]:
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
