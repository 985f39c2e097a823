"""The list of what a report wrote, by which the next one into the same folder tells its own files from others."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from kidney_lab.errors import InputError
from kidney_lab.files import write_text

LIST: Final = ".report-files.json"
"""In the folder of the report: JSON, paths of the tables and figures relative to it."""


def keep_only(written: Iterable[Path], output: Path) -> None:
    """Removes what an earlier report left, and notes what this one wrote.

    Args:
        written: files in `output`; all others that the list names are removed, and nothing else is.
        output: folder of the report.

    Raises:
        InputError: the list is damaged.
    """
    kept = {file.relative_to(output).as_posix() for file in written}
    for old in sorted(_listed(output / LIST) - kept):
        if (output / old).resolve().is_relative_to(output.resolve()):
            (output / old).unlink(missing_ok=True)
    write_text(output / LIST, json.dumps(sorted(kept), indent=1) + "\n")


def _listed(file: Path) -> set[str]:
    if not file.is_file():
        return set()
    try:
        return {Path(name).as_posix() for name in json.loads(file.read_text(encoding="utf-8"))}
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{file}, which lists what an earlier report wrote, cannot be read ({error}): delete it, or choose another "
            "output."
        ) from error
