"""Case ids as a user writes them: `7`, `0-19`, `3,7,10-12`, `case_00003`, or a list of these."""

import re
from collections.abc import Sequence

from kidney_lab.errors import InputError

_RANGE = re.compile(r"(?:case_)?(\d{1,5})(?:-(?:case_)?(\d{1,5}))?")


def parse_cases(cases: object) -> list[str]:
    """Turns a choice of cases into ids.

    Args:
        cases: a number, a text of numbers, ids and ranges (both ends included) between commas, or a list of these.

    Returns:
        Ids `case_XXXXX`, sorted, each once.

    Raises:
        InputError: a part of it is none of these, a range runs backwards, or nothing is chosen.

    >>> parse_cases("3,0-1")
    ['case_00000', 'case_00001', 'case_00003']
    """
    parts = cases if isinstance(cases, Sequence) and not isinstance(cases, str) else [cases]
    numbers = {number for part in parts for piece in str(part).split(",") for number in _numbers(piece.strip(), cases)}
    if not numbers:
        raise InputError(f"data.cases={cases} chooses no case: {_ALLOWED}")
    return [f"case_{number:05d}" for number in sorted(numbers)]


_ALLOWED = "write numbers, ids or ranges, such as data.cases=0-19 or data.cases=[3,7,10-12], or null for every case."


def _numbers(piece: str, cases: object) -> range:
    match = _RANGE.fullmatch(piece)
    if match is None:
        raise InputError(f"data.cases={cases} holds {piece!r}, which is no case: {_ALLOWED}")
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first:
        raise InputError(f"data.cases={cases} holds the range {piece}, which runs backwards: {_ALLOWED}")
    return range(first, last + 1)
