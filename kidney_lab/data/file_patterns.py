"""Files of cases that are named otherwise than KiTS's, found by a pattern such as `scans/CT-{case}.nii.gz`."""

import glob
import logging
import re
from pathlib import Path
from typing import Final

from kidney_lab.data.split_files.load import case_id, some
from kidney_lab.errors import InputError

CASE: Final = "{case}"
"""Stands in a pattern for the number of a case: one to five digits."""

_log = logging.getLogger(__name__)


def files_like(pattern: str, key: str) -> dict[str, Path]:
    """Files that are named like a pattern, by case; others that begin and end alike are named in a warning.

    Args:
        pattern: a path with `{case}` in it, once or several times for the same number.
        key: where the pattern stands in the configuration, for messages.

    Raises:
        InputError: the pattern has no `{case}`, or two files are of one case.
    """
    path = Path(pattern).expanduser()
    if CASE not in pattern:
        raise InputError(f"{key}={pattern} has no {CASE}: write it where the number of the case stands.")
    first = next(place for place, part in enumerate(path.parts) if CASE in part)
    folder, below = Path(*path.parts[:first]), Path(*path.parts[first:])
    start, *others = map(re.escape, str(below).split(CASE))
    named = re.compile(start + r"(?P<case>\d{1,5})" + "(?P=case)".join(others))
    files: dict[str, Path] = {}
    strangers = []
    for file in sorted(folder.glob(glob.escape(str(below)).replace(CASE, "*"))):
        match = named.fullmatch(str(file.relative_to(folder)))
        if match is None:
            strangers.append(file.name)
            continue
        name = case_id(int(match["case"]))
        if name in files:
            raise InputError(
                f"{key}={pattern} is like two files of {name}, {files[name]} and {file}: keep one of them."
            )
        files[name] = file
    if strangers:
        _log.warning("Left out, since %s is a number of one to five digits: %s", CASE, some(strangers))
    return files
