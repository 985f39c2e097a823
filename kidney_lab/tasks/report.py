"""`task=report`: tables, figures and one HTML file of finished runs."""

from pathlib import Path

from omegaconf import DictConfig

from kidney_lab.errors import InputError
from kidney_lab.reporting.html import write_report


def report(config: DictConfig) -> None:
    """Writes `report.html` and its tables directly into `output`."""
    runs = expand(str(config.runs))
    if not runs:
        raise InputError(f"runs={config.runs} matches nothing: name run folders, for example runs='runs/*'.")
    written = write_report(runs, Path(config.output))
    for sentence in written.skipped:
        print(f"skipped {sentence}")
    print(f"report  {written.html}")


def expand(pattern: str) -> list[Path]:
    """Paths that a glob matches; the part of it that exists is itself, brackets and all.

    Args:
        pattern: such as `runs/*`, or the path of one run.

    Returns:
        Matches, sorted; none where nothing matches.
    """
    fixed, rest = Path(pattern), list[str]()
    while not fixed.exists():
        rest.insert(0, fixed.name)
        fixed = fixed.parent
    return sorted(fixed.glob("/".join(rest))) if rest else [fixed]
