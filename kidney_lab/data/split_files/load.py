"""Split files: those of this package, and a user's own in the same form, in nnU-Net's or as a run wrote it.

A file of this package is a JSON object with `description`, `drawn` (how), `datasets` and the parts. Cases are numbers.
The parts are `train`, `val` and `test`; or `test` and `folds`, of which each in turn is the validation part while the
others train. `datasets` gives for each dataset that the split fits the last case of it that takes part: one assignment
of patients serves every edition, so that no test patient of one edition is a training patient of another.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from kidney_lab.data.splits import Split
from kidney_lab.errors import InputError
from kidney_lab.wording import counted

FOLDER: Final = Path(__file__).parent
DEFAULT: Final = "kidney_lab"
"""Name of the split that comparisons use unless told otherwise."""

_PARTS: Final = {"train": "training", "val": "validation", "test": "test"}
_SHOWN = 5
_NO_CASE = re.compile(r"\s*|[-+].*|\d*\.\d*")  # of a text; a number with a sign or a point names no case


@dataclass(frozen=True)
class SplitFile:
    """A split file, read and checked.

    Args:
        choice: what `data.split` named it by.
        folds: the split of each fold; one split where there are no folds.
        has_folds: whether `data.fold` chooses.
        last_case: for each dataset that it fits the highest case number that takes part; empty: fits any dataset.
    """

    choice: str
    folds: tuple[Split, ...]
    has_folds: bool
    last_case: Mapping[str, int]

    def fits(self, dataset: str) -> bool:
        """Whether this is a split of that dataset."""
        return not self.last_case or dataset in self.last_case

    def split(self, dataset: str, fold: int | None = None) -> Split:
        """Gives the parts for one dataset.

        Args:
            dataset: its name.
            fold: which; None: the first.

        Returns:
            The split, with the cases that this edition of the dataset has.

        Raises:
            InputError: it is no split of that dataset, or has no such fold.
        """
        if not self.fits(dataset):
            raise InputError(
                f"data.split={self.choice} splits {', '.join(self.last_case)}, not data={dataset}: "
                "choose one of these datasets, or data.split=auto."
            )
        if not self.has_folds and fold is not None:
            raise InputError(
                f"data.fold={fold} means nothing to data.split={self.choice}, which has no folds: unset it."
            )
        if fold is not None and fold not in range(len(self.folds)):
            last = len(self.folds) - 1
            raise InputError(f"data.fold={fold} is no fold of data.split={self.choice}: choose one from 0 to {last}.")
        split = self.folds[fold or 0]
        if not self.last_case:
            return split
        last_id = case_id(self.last_case[dataset])
        train, val, test = (tuple(case for case in part if case <= last_id) for part in split.parts)
        return replace(split, train=train, val=val, test=test)


def split_names() -> list[str]:
    """Names of the splits of this package, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def read_split(choice: str) -> SplitFile:
    """Reads a split file.

    Args:
        choice: name of a split of this package, or the path of a file that ends in `.json`: in the form of this
            package, nnU-Net's `splits_final.json` (a list of `{"train", "val"}`, one per fold), or a run's
            `split.json`.

    Returns:
        What the file says, with case ids in the form `case_XXXXX`.

    Raises:
        InputError: there is no such split, the file cannot be read, or a patient is in two of its parts.
    """
    is_path = str(choice).endswith(".json")
    if not is_path and choice not in split_names():
        raise InputError(
            f"data.split={choice} is unknown: choose auto, {', '.join(split_names())}, or the path of a .json file."
        )
    path = Path(choice).expanduser() if is_path else FOLDER / f"{choice}.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        folds, has_folds = _folds(content)
        described = content if isinstance(content, dict) else {}
        splits = tuple(_split(parts, choice) for parts in folds)
        if not splits:
            raise ValueError("it has no folds")
        name = str(described.get("name", path.stem))
        if "hash" in described:  # a run's own: it stays what it was
            exclude, excluded = (tuple(described.get(key, ())) for key in ("exclude", "excluded"))
            splits = (replace(splits[0], fold=described.get("fold"), exclude=exclude, excluded=excluded),)
        else:
            splits = tuple(replace(split, fold=k if has_folds else None) for k, split in enumerate(splits))
        return SplitFile(
            choice=str(choice),
            folds=tuple(replace(split, name=name) for split in splits),
            has_folds=has_folds,
            last_case={str(key): int(last) for key, last in described.get("datasets", {}).items()},
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"data.split={choice} cannot be read as a split ({_reason(error)}): give a JSON object with train, val and "
            "test, each a list of cases, or nnU-Net's list of objects with train and val."
        ) from error


def case_id(case: int | str) -> str:
    """Name of a case's folder, from its number or from the identifier or the file that another tool gave it.

    Raises:
        ValueError: it is no whole number from 0 on, and no name.

    >>> case_id(7), case_id("KiTS_00007.nii.gz"), case_id("case_00007")
    ('case_00007', 'case_00007', 'case_00007')
    """
    whole = isinstance(case, int) and not isinstance(case, bool) and case >= 0
    name = str(case).removesuffix(".nii.gz")
    if not (whole or isinstance(case, str)) or _NO_CASE.fullmatch(name):
        raise ValueError(f"{case} is no case: give a number from 0 on, or a name such as case_00007")
    match = re.fullmatch(r"(?:.*\D)?(\d+)", name)
    if name.startswith("case_") or match is None:
        return name
    return f"case_{int(match[1]):05d}"


def some(cases: Sequence[str]) -> str:
    """Names the first few of some cases.

    >>> some(["a", "b"]), some(list("abcdefg"))
    ('a, b', 'a, b, c, d, e, ...')
    """
    return ", ".join(cases[:_SHOWN]) + (", ..." if len(cases) > _SHOWN else "")


def _folds(content: Any) -> tuple[list[dict[str, list[Any]]], bool]:
    """Parts of every fold, and whether there are folds."""
    if isinstance(content, list):
        return [{key: _listed(fold.get(key, [])) for key in _PARTS} for fold in content], True
    test = _listed(content.get("test", []))
    if "folds" not in content:
        return [{"train": _listed(content["train"]), "val": _listed(content["val"]), "test": test}], False
    folds = [_listed(fold) for fold in _listed(content["folds"])]
    others = [[case for j, fold in enumerate(folds) if j != k for case in fold] for k in range(len(folds))]
    return [{"train": others[k], "val": folds[k], "test": test} for k in range(len(folds))], True


def _listed(cases: Any) -> list[Any]:
    """Makes sure that cases stand in a list: the letters of a text are no cases.

    Raises:
        ValueError: they do not.
    """
    if not isinstance(cases, list):
        raise ValueError(f"{cases} is no list of cases")
    return cases


def _reason(error: Exception) -> str:
    """A clause on why a file is no split."""
    if isinstance(error, KeyError):
        return f"it has no {error.args[0]}"
    if isinstance(error, OSError):
        return str(error.strerror)
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


def _split(parts: Mapping[str, Sequence[int | str]], choice: str) -> Split:
    """Makes sure that the parts of one fold are sound.

    Raises:
        InputError: a part is empty that may not be, or a case is in two parts, or twice in one.
    """
    ids = {key: [case_id(case) for case in cases] for key, cases in parts.items()}
    places: dict[str, list[str]] = {}
    for key, cases in ids.items():
        for case in cases:
            places.setdefault(case, []).append(_PARTS[key])
    twice = [f"{case} ({' and '.join(where)})" for case, where in sorted(places.items()) if len(where) > 1]
    if twice:
        raise InputError(
            f"data.split={choice} holds {counted(len(twice), 'patient')} more than once: {some(twice)}; "
            "leave every patient in one part, else scores are those of cases that were trained on."
        )
    empty = [_PARTS[key] for key in ("train", "val") if not ids[key]]
    if empty:
        raise InputError(f"data.split={choice} has no {' and no '.join(empty)} cases: give it at least one of each.")
    train, val, test = (tuple(sorted(ids[key])) for key in _PARTS)
    return Split(train=train, val=val, test=test)
