"""Cases of KiTS that others found to be bad, as lists with their sources: `data.exclude` leaves them out.

The numbers are those of KiTS19, which the later editions kept; the references of these cases were drawn anew for
KiTS21. None is excluded unless asked for, and what was excluded is named in every result.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kidney_lab.errors import InputError


@dataclass(frozen=True)
class Exclusion:
    """A list of bad cases.

    Args:
        numbers: of the cases.
        source: who reported them, and why.
    """

    numbers: tuple[int, ...]
    source: str


EXCLUSIONS: Final = {
    "kits19_issue6": Exclusion(
        (15, 25, 61, 117), "references reported as faulty: https://github.com/neheller/kits19/issues/6"
    ),
    "kits19_issue21": Exclusion(
        (15, 37), "references reported as faulty: https://github.com/neheller/kits19/issues/21"
    ),
    "nnunet2019": Exclusion(
        (23, 68, 125, 133),
        "left out by the winners of KiTS19 (Isensee and Maier-Hein 2019, arXiv:1908.02182); users of that recipe leave "
        "out 15 and 37 as well, which are kits19_issue21",
    ),
    "thesis": Exclusion((160,), "512x796 in plane where all others are 512x512; the outlier of the thesis"),
}
"""The lists by the names that `data.exclude` takes."""


def excluded_cases(exclude: str | Sequence[str] | None) -> tuple[tuple[str, ...], frozenset[str]]:
    """Looks up lists of bad cases.

    Args:
        exclude: "none" (or None, or an empty list), the name of a list, or several names, as a list or with commas
            between them.

    Returns:
        The names, each once, and the ids of the cases on any of the lists.

    Raises:
        InputError: there is no list of that name, or "none" stands beside others.
    """
    if isinstance(exclude, Sequence):
        asked = exclude.split(",") if isinstance(exclude, str) else exclude
    else:
        asked = [] if exclude is None else [exclude]
    names = tuple(dict.fromkeys(str(name).strip() for name in asked))
    if names in ((), ("none",)):
        return (), frozenset()
    shown = exclude if isinstance(exclude, str) else f"[{','.join(names)}]"
    if "none" in names:
        raise InputError(f"data.exclude={shown} names none beside others: choose none alone, or leave it out.")
    unknown = [name for name in names if name not in EXCLUSIONS]
    if unknown:
        raise InputError(f"data.exclude={shown} is unknown: choose none, or of {', '.join(EXCLUSIONS)}.")
    return names, frozenset(f"case_{number:05d}" for name in names for number in EXCLUSIONS[name].numbers)
