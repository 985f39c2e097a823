"""`task=export`: a finished training as a folder that can be shared, or a dataset for nnU-Net."""

from pathlib import Path

from omegaconf import DictConfig
from rich.filesize import decimal

from kidney_lab.errors import InputError
from kidney_lab.export.bundle import export_bundle
from kidney_lab.tasks.export_nnunet import export_nnunet
from kidney_lab.tasks.screen import log_to_screen
from kidney_lab.tasks.values import check_switches


def export(config: DictConfig) -> None:
    """Writes what `format` names: `bundle` or `nnunet`."""
    check_switches(config)
    formats = {"bundle": write_bundle, "nnunet": export_nnunet}
    if config.format not in formats:
        raise InputError(f"format={config.format} is unknown: choose one of {', '.join(formats)}.")
    formats[config.format](config)


def write_bundle(config: DictConfig) -> None:
    """Writes the bundle of `run` into `output`, and prints what it holds."""
    with log_to_screen():
        bundle = export_bundle(Path(config.run), Path(config.output), onnx=config.onnx, trust=list(config.trust))
    for file in sorted(path for path in bundle.rglob("*") if path.is_file()):
        print(f"{decimal(file.stat().st_size):>9}  {file.relative_to(bundle)}")
    print(f"bundle  {bundle}: task=predict run={bundle} segments with it")
