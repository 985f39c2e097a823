"""Splits of a dataset by patient: which cases train, validate and test."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from kidney_lab.errors import InputError


@dataclass(frozen=True)
class Split:
    """Case ids of the three parts, each sorted; no case is in two."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def cases(self) -> tuple[str, ...]:
        """Every case that the split uses."""
        return self.train + self.val + self.test

    @property
    def hash(self) -> str:
        """Short name of this very split; two results are comparable only where it is the same."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:12]


def seeded_split(
    cases: Sequence[str], *, n_train: int | None, n_val: int | None, n_test: int | None, seed: int
) -> Split:
    """Splits cases at random but always alike. A KiTS case is a patient, so no patient is in two parts.

    Args:
        cases: case ids, in any order.
        n_train: number of training cases; None: 70 % (with all three None), or what the others leave.
        n_val: number of validation cases; None: 10 %, at least one.
        n_test: number of test cases; None: 20 %, at least one.
        seed: of the permutation.

    Returns:
        The split; with all numbers given, cases beyond them are left out.

    Raises:
        InputError: there are too few cases.
    """
    n = len(cases)
    n_val = max(1, round(0.1 * n)) if n_val is None else n_val
    n_test = max(1, round(0.2 * n)) if n_test is None else n_test
    n_train = n - n_val - n_test if n_train is None else n_train
    if n_train < 1 or n_val < 1 or n_test < 0 or n_train + n_val + n_test > n:
        raise InputError(
            f"{n} cases cannot be split into {n_train} for training, {n_val} for validation and {n_test} for the test: "
            "set data.n_train, data.n_val and data.n_test to fit (training and validation need at least one each)."
        )
    order = np.random.default_rng(seed).permutation(n)
    names = np.array(sorted(cases))[order[: n_train + n_val + n_test]].tolist()
    parts = names[:n_train], names[n_train : n_train + n_val], names[n_train + n_val :]
    return Split(*(tuple(sorted(part)) for part in parts))
