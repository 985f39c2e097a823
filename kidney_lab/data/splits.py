"""Splits of a dataset by patient: which cases train, validate and test."""

import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

from kidney_lab.errors import InputError
from kidney_lab.wording import counted

Scored = Literal["test", "validation"]
"""The part of a split whose scores a run reports."""


@dataclass(frozen=True)
class Split:
    """Case ids of the three parts, each sorted; no case is in two.

    Args:
        train: cases that weights are learned from.
        val: cases by which weights are chosen.
        test: cases that are read once, at the end; may be empty.
        name: of the split file, or "seeded" for one that was drawn from the cases at hand.
        fold: of a split that has folds.
        exclude: names of the lists of bad cases that were left out.
        excluded: the cases that these lists took away, sorted.
    """

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    name: str = "seeded"
    fold: int | None = None
    exclude: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()

    @property
    def cases(self) -> tuple[str, ...]:
        """Every case that the split uses."""
        return self.train + self.val + self.test

    @property
    def hash(self) -> str:
        """Short name of these very parts; two results are comparable only where it is the same."""
        parts = {"train": self.train, "val": self.val, "test": self.test}
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]

    @property
    def scored(self) -> Scored:
        """The part that is scored at the end: the validation cases of a split without test cases."""
        return "test" if self.test else "validation"

    @property
    def scored_cases(self) -> tuple[str, ...]:
        """The cases of the part that is scored at the end."""
        return self.test or self.val

    def without(self, cases: Collection[str], *, exclude: tuple[str, ...]) -> "Split":
        """Leaves cases out of every part.

        Args:
            cases: ids; those that no part holds change nothing.
            exclude: names of the lists that they stand in.

        Returns:
            The split that remains, which says what was left out.

        Raises:
            InputError: no case remains to train on, or none to validate on.
        """
        train, val, test = (tuple(case for case in part if case not in cases) for part in self.parts)
        if not train or not val:
            raise InputError(
                f"data.exclude=[{','.join(exclude)}] leaves {counted(len(train), 'training case')} and "
                f"{counted(len(val), 'validation case')} of the split {self.name}, which needs at least one each: "
                "exclude fewer, or choose another data.split."
            )
        gone = tuple(sorted({*self.excluded, *(case for case in self.cases if case in cases)}))
        lists = tuple(dict.fromkeys((*self.exclude, *exclude)))
        return replace(self, train=train, val=val, test=test, exclude=lists, excluded=gone)

    @property
    def parts(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """Training, validation and test cases."""
        return self.train, self.val, self.test


def seeded_split(
    cases: Collection[str],
    *,
    n_train: int | None,
    n_val: int | None,
    n_test: int | None,
    seed: int,
    excluded: Collection[str] = (),
) -> Split:
    """Splits cases at random but always alike. A KiTS case is a patient, so no patient is in two parts.

    Cases are drawn before any is left out, so that leaving some out moves no other case from the test into the
    training: what was trained with and without them can be compared.

    Args:
        cases: case ids, in any order.
        n_train: number of training cases; None: 70 % (with all three None), or what the others leave.
        n_val: number of validation cases; None: 10 %, at least one.
        n_test: number of test cases; None: 20 %, at least one.
        seed: of the permutation.
        excluded: ids that are left out of the parts that were drawn. A part whose number is given is filled up again:
            with cases that no part has, or, where training takes all that is left, with training cases.

    Returns:
        The split; with all numbers given, cases beyond them are left out.

    Raises:
        InputError: there are too few cases.
    """
    n = len(cases)
    sizes = (
        n - (_share(n, 0.1, n_val) + _share(n, 0.2, n_test)) if n_train is None else n_train,
        _share(n, 0.1, n_val),
        _share(n, 0.2, n_test),
    )
    if sizes[0] < 1 or sizes[1] < 1 or sizes[2] < 0 or sum(sizes) > n:
        raise _too_few(counted(n, "case"), sizes)
    order = [sorted(cases)[k] for k in np.random.default_rng(seed).permutation(n)]
    ends = np.cumsum((0, *sizes, n - sum(sizes)))
    train, val, test, rest = ([case for case in order[a:b] if case not in excluded] for a, b in pairwise(ends))
    spare = train if n_train is None else rest
    for part, wanted in ((train, n_train), (val, n_val), (test, n_test)):
        missing = 0 if wanted is None else wanted - len(part)
        if missing > len(spare):
            raise _too_few(f"The {counted(n, 'case')} without those of data.exclude", sizes)
        part.extend(spare.pop() for _ in range(missing))
    if not train or not val:
        raise _too_few(f"The {counted(n, 'case')} without those of data.exclude", sizes)
    return Split(train=tuple(sorted(train)), val=tuple(sorted(val)), test=tuple(sorted(test)))


def _share(n: int, share: float, number: int | None) -> int:
    """Cases of a part: as many as are asked for, else a share of all, at least one."""
    return max(1, round(share * n)) if number is None else number


def _too_few(cases: str, sizes: Sequence[int]) -> InputError:
    n_train, n_val, n_test = sizes
    return InputError(
        f"{cases} cannot be split into {n_train} for training, {n_val} for validation and {n_test} for the test: "
        "set data.n_train, data.n_val and data.n_test to fit (training and validation need at least one each)."
    )
