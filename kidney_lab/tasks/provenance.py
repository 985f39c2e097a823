"""What a run was made with: code, versions, overrides and paths. Nothing heavy is imported for it."""

import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from kidney_lab.composition.arguments import WEIGHTS
from kidney_lab.composition.config_hash import config_hash
from kidney_lab.composition.decisive import lasting
from kidney_lab.composition.messages import to_plain

PACKAGES = ("kidney-lab", "torch", "pytorch-lightning", "monai", "hydra-core", "numpy", "scipy")


def provenance(config: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """Collects what `run.json` says of a run from its start.

    Args:
        config: the whole composed configuration.
        overrides: of the command line, such that they mean the same from any working directory.
    """
    choices = HydraConfig.get().runtime.choices
    commit, dirty = checkout()
    return {
        "name": f"{choices['model']}-{choices['data']}",
        "overrides": lasting(overrides),
        # Absolute, so that the run can be gone on with from any working directory.
        "paths": {key: str(Path(path).expanduser().resolve()) for key, path in _paths(config) if path},
        "config_hash": config_hash(to_plain(config)),
        "seed": config.seed,
        "commit": commit,
        "dirty": dirty,
        "versions": versions(),
    }


@cache
def checkout() -> tuple[str | None, bool | None]:
    """Commit of the checkout that the code runs from, and whether it was changed since; None outside a checkout.

    As it was when this process first asked: the jobs of a sweep that follow run the code that was loaded then.
    """
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None, None
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True)
        status = subprocess.run(["git", "status", "--porcelain"], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None, None
    return commit.stdout.strip(), bool(status.stdout.strip())


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide results."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def utc_now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _paths(config: DictConfig) -> list[tuple[str, str | None]]:
    data = config.data
    split = data.split if str(data.split).endswith(".json") else None
    return [
        ("data.root", data.root),
        ("data.test_root", data.test_root),
        ("data.split", split),
        ("prepare.root", config.prepare.root),
        ("init", OmegaConf.select(config, "init")),
        ("predictions", OmegaConf.select(config, "predictions")),
        *_weight_files(OmegaConf.select(config, WEIGHTS)),
    ]


def _weight_files(weights: Any) -> list[tuple[str, str]]:
    """Files of pretrained weights, one for all or one for each encoder; words such as `imagenet` are none."""
    by_encoder = isinstance(weights, DictConfig)
    named = {f"{WEIGHTS}.{encoder}": file for encoder, file in weights.items()} if by_encoder else {WEIGHTS: weights}
    return [(key, file) for key, file in named.items() if isinstance(file, str) and Path(file).expanduser().is_file()]
