"""The runs that `run=` names, and how what they make is marked as theirs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kidney_lab.errors import InputError
from kidney_lab.export.dicom_seg import Algorithm
from kidney_lab.inference.member_runs import RunFiles, read_run

_ITEM = re.compile(r"""'[^']*'|"[^"]*"|[^,]+""")
_MARKS = ("name", "config_hash", "seed", "started", "finished")
_COST_ALONE = {"memory_gib"}
"""Settings of inference that change no label map."""


@dataclass(frozen=True)
class MadeBy:
    """What tells the runs of a method from others, wherever they lie; an exported run has the same marks.

    Args:
        runs: `_MARKS` of each run's `run.json`, in order.
        settings: of inference that each run looks at scans with, and after it each of its members; without those that
            change the cost alone.
    """

    runs: tuple[dict[str, Any], ...]
    settings: tuple[dict[str, Any], ...] = ()

    @classmethod
    def read(
        cls, paths: Sequence[Path], trust: Sequence[str] = (), settings: Mapping[str, Any] | None = None
    ) -> "MadeBy":
        """Reads the records of runs.

        Args:
            paths: folders of runs or of exported ones.
            trust: see `kidney_lab.load_method`.
            settings: of inference that the command gives instead of the runs'.

        Raises:
            InputError: one is no run, its configuration may not be trusted, or there is no such setting.
        """
        found = [read_run(path, trust) for path in paths]
        marks = tuple({key: run.record.get(key) for key in _MARKS} for run in found)
        return cls(marks, tuple(chosen for run in found for chosen in _settings_of(run, settings or {})))

    @property
    def algorithm(self) -> Algorithm:
        """For the record in a DICOM file."""
        names = list(dict.fromkeys(str(run["name"]) for run in self.runs))
        name = f"mean of {len(self.runs)}: {', '.join(names)}" if len(self.runs) > 1 else names[0]
        return Algorithm(name, "+".join(str(run["config_hash"]) for run in self.runs))


def chosen_runs(value: str | Sequence[str] | None) -> list[Path]:
    """Folders that `run=` names.

    Args:
        value: a path, or `[PATH,PATH]` as the command line hands it on, or a list of paths. A folder whose own name is
            in brackets is that folder; a path with a comma stands in quotes in a list.

    Returns:
        At least one path.

    Raises:
        InputError: there is none.

    >>> [str(path) for path in chosen_runs("[runs/a, 'runs/b,c']")]
    ['runs/a', 'runs/b,c']
    """
    if value is None or value == "":
        raise InputError("run= is empty: name the folder of a finished training, or of several as [RUN,RUN].")
    if isinstance(value, str) and value.startswith("[") and value.endswith("]") and not Path(value).exists():
        value = [item.strip().strip("'\"") for item in _ITEM.findall(value[1:-1])]
    paths = [Path(value)] if isinstance(value, str) else [Path(str(item)) for item in value]
    if not paths:
        raise InputError("run=[] names no run: give the folder of a finished training, or several as [RUN,RUN].")
    return paths


def _settings_of(run: RunFiles, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    chosen = replace(run.inference, **given)
    own = {key: value for key, value in asdict(chosen).items() if key not in _COST_ALONE}
    own["mirror_axes"] = sorted(chosen.mirror_axes)
    return [own, *(settings for member in run.members().values() for settings in _settings_of(member, given))]
