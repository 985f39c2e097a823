"""`task=report`: tables, figures and one HTML file of finished runs."""

import glob
from pathlib import Path

from omegaconf import DictConfig

from kidney_lab.errors import InputError
from kidney_lab.reporting.html import write_report


def report(config: DictConfig) -> None:
    """Writes `report.html` and its tables directly into `output`."""
    # A folder whose name has brackets is itself before it is a pattern.
    pattern = str(config.runs)
    matches = [pattern] if Path(pattern).is_dir() else sorted(glob.glob(pattern))  # noqa: PTH207 Path.glob is relative
    runs = [Path(name) for name in matches]
    if not runs:
        raise InputError(f"runs={config.runs} matches nothing: name run folders, for example runs='runs/*'.")
    written = write_report(runs, Path(config.output))
    for sentence in written.skipped:
        print(f"skipped {sentence}")
    print(f"report  {written.html}")
