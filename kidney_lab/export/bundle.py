"""A trained method as a folder that can be shared: a run folder without what belongs to one machine.

README.md                            model card
config.yaml                          resolved, see `kidney_lab.export.public`
run.json  summary.json               record and scores, without paths and names of cases
stages/<name>/model.safetensors      weights of the stage's module, as in its `best.ckpt`
stages/<name>/{intensity,view}.json  what the training cases gave, where the stage needs it
stages/<name>/model.onnx             the network, of a method of one stage that ONNX can hold
members/<n>/                         of an ensemble of finished runs, a bundle of each
"""

import json
import logging
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from kidney_lab.errors import InputError
from kidney_lab.export.model_card import model_card
from kidney_lab.export.onnx import NotExportableError, export_onnx, require_packages
from kidney_lab.export.public import public_config, public_record
from kidney_lab.files import make_folder, write_text
from kidney_lab.inference.ensemble import Ensemble
from kidney_lab.inference.load import load_method
from kidney_lab.inference.member_runs import RunFiles, read_run
from kidney_lab.inference.method import TrainedMethod
from kidney_lab.inference.stage_weights import WEIGHTS, write_weights
from kidney_lab.methods.stage import Stage

ONNX = "model.onnx"

log = logging.getLogger(__name__)


def export_bundle(run: Path, output: Path, *, onnx: bool = True, trust: Sequence[str] = ()) -> Path:
    """Writes a bundle; its folder appears when it is whole.

    Args:
        run: folder of a finished training.
        output: folder of the bundle; must not be there, or be empty.
        onnx: whether to write the network of a method of one stage as ONNX too; one that ONNX cannot hold is named in
            the log and left out.
        trust: see `kidney_lab.load_method`.

    Returns:
        `output`.

    Raises:
        InputError: the run lacks a file, something is in the place of the bundle, or the packages for ONNX are missing.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"output={output} is there already: name a folder that is not, or an empty one.")
    method = load_method(run, "cpu", trust)
    onnx = onnx and len(method.stages) == 1 and not method.members
    if onnx:
        require_packages()
    make_folder(output.parent)
    temporary = output.with_name(f".{uuid.uuid4().hex}.{output.name}")
    try:
        _fill(temporary, read_run(run, trust), method, onnx=onnx)
        if output.is_dir():
            output.rmdir()
        temporary.replace(output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return output


def _fill(folder: Path, run: RunFiles, method: TrainedMethod, *, onnx: bool) -> None:
    config = _with_members(public_config(_plain_config(run)), method)
    record = public_record(run.record)
    summary = _json(run.path / "summary.json") if (run.path / "summary.json").is_file() else {}
    for name, stage in method.stages.items():
        part = folder / "stages" / name
        write_weights(part / WEIGHTS, stage.module.state_dict(), {"stage": name, "run": str(record.get("name", ""))})
        stage.save(part)
    for name, member in run.members().items():
        _fill(folder / "members" / name, member, method.members[name], onnx=False)
    written = onnx and _write_onnx(folder, *next(iter(method.stages.items())))
    write_text(folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(config)))
    write_text(folder / "run.json", json.dumps(record, indent=2) + "\n")
    if summary:
        write_text(folder / "summary.json", json.dumps(summary, indent=2) + "\n")
    write_text(folder / "README.md", model_card(config, record, summary, onnx=written))


def _with_members(config: dict[str, Any], method: TrainedMethod) -> dict[str, Any]:
    """The configuration with members where the bundle has them, and with their weights.

    These are numbers by now: a bundle has no validation scores that they could be taken from again.
    """
    if method.members:
        config["model"]["member_runs"] = [f"members/{name}" for name in method.members]
    if isinstance(method.combination, Ensemble) and not isinstance(method.combination.weights, str):
        config["model"]["combination"]["weights"] = [float(weight) for weight in method.combination.weights]
    return config


def _write_onnx(folder: Path, name: str, stage: Stage) -> bool:
    """Writes the network of a stage, for samples of its view's size; tells whether ONNX can hold it."""
    shape = (stage.channels, *stage.view.roi_size)
    try:
        worst = export_onnx(stage.module.network, folder / "stages" / name / ONNX, shape)
    except NotExportableError as error:
        log.warning("The bundle has no %s: %s.", ONNX, error)
        return False
    log.info("%s differs from PyTorch by at most %.2g.", ONNX, worst)
    return True


def _plain_config(run: RunFiles) -> dict[str, Any]:
    plain = OmegaConf.to_container(run.config, resolve=True)
    if not isinstance(plain, dict):
        raise TypeError(f"expected a mapping at the top of the configuration, got {type(plain).__name__}")
    return {str(key): value for key, value in plain.items()}


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} cannot be read ({error}): bring that file back from the training.") from error
