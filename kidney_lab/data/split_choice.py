"""From what the configuration says of the split to the split itself."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from kidney_lab.data.exclusions import excluded_cases
from kidney_lab.data.split_files.load import DEFAULT, read_split, some
from kidney_lab.data.splits import Split, seeded_split
from kidney_lab.errors import InputError
from kidney_lab.wording import counted

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SplitChoice:
    """What was asked for.

    Args:
        split: "auto", the name of a split, or the path of a split file.
        fold: of a split that has folds; None: the first.
        exclude: lists of bad cases that are left out: "none", a name, or names.
        n_train: training cases of a seeded split; None: what the others leave.
        n_val: validation cases of a seeded split; None: 10 %.
        n_test: test cases of a seeded split; None: 20 %.
        seed: of a seeded split.
    """

    split: str = "auto"
    fold: int | None = None
    exclude: str | Sequence[str] | None = "none"
    n_train: int | None = None
    n_val: int | None = None
    n_test: int | None = None
    seed: int = 0

    def choose(self, here: "CasesHere") -> Split:
        """Makes the split.

        "auto" is the split `kidney_lab` where all its cases are there, and no numbers are given; else the cases that
        are there are split at random.

        Args:
            here: what there is to split.

        Returns:
            A split all of whose cases are there.

        Raises:
            InputError: the split does not fit the dataset or lacks cases, or its settings contradict each other.
        """
        exclude, excluded = excluded_cases(self.exclude)
        if self.split != "auto":
            self._refuse_numbers()
            whole = read_split(self.split).split(here.dataset, self.fold)
            missing = here.missing(whole, excluded)
            if missing:
                raise InputError(_incomplete(self.split, whole, missing, here))
            return whole.without(excluded, exclude=exclude)
        default, reason = self._default(here, excluded)
        if default is not None:
            return default.without(excluded, exclude=exclude)
        for key, value in (("fold", self.fold), ("test_root", here.test_root)):
            if value is not None:
                raise InputError(
                    f"data.{key}={value} goes with a split by name, but data.split=auto draws one at random, since "
                    f"{reason}: unset it, or name a split, such as data.split={DEFAULT}."
                )
        drawn = seeded_split(
            here.labelled,
            n_train=self.n_train,
            n_val=self.n_val,
            n_test=self.n_test,
            seed=self.seed,
            excluded=excluded,
        )
        return replace(drawn, exclude=exclude, excluded=tuple(sorted(here.labelled & excluded)))

    def _default(self, here: "CasesHere", excluded: Collection[str]) -> tuple[Split | None, str]:
        """The dataset's `kidney_lab` split, or None and why it cannot be had."""
        file = read_split(DEFAULT)
        if self._numbers():
            return None, "its size is given"
        if not file.fits(here.dataset):
            return None, f"data={here.dataset} has no split of its own"
        whole = file.split(here.dataset, self.fold)
        missing = here.missing(whole, excluded)
        if not missing:
            return whole, ""
        reason = f"{DEFAULT} lacks {len(missing)} of its {len(whole.cases)} cases here ({some(missing)})"
        log.warning("data.split=auto: %s; the cases that are there are split at random", reason)
        return None, reason

    def _numbers(self) -> list[str]:
        numbers = {"n_train": self.n_train, "n_val": self.n_val, "n_test": self.n_test}
        return [f"data.{key}={number}" for key, number in numbers.items() if number is not None]

    def _refuse_numbers(self) -> None:
        if self._numbers():
            raise InputError(
                f"{', '.join(self._numbers())} cannot size data.split={self.split}, whose parts are fixed: leave them "
                "null, or choose data.split=auto."
            )


@dataclass(frozen=True)
class CasesHere:
    """The cases that are there to be split.

    Args:
        dataset: its name.
        labelled: ids of those with a reference.
        labelled_for_test: the same of those that test cases may be taken from.
        root: folder, as the user named it.
        test_root: folder of the test cases, as the user named it; None: `root`.
        only: the cases that the user has chosen out of the folder, as he wrote them; None: all.
    """

    dataset: str
    labelled: frozenset[str]
    labelled_for_test: frozenset[str]
    root: str | None
    test_root: str | None = None
    only: object = None

    def missing(self, split: Split, excluded: Collection[str]) -> list[str]:
        """Cases of a split that are not there with a reference, sorted; those that are excluded are not needed."""
        lacking = {*split.train, *split.val} - self.labelled | {*split.test} - self.labelled_for_test
        return sorted(lacking.difference(excluded))


def _incomplete(choice: str, whole: Split, missing: Sequence[str], here: CasesHere) -> str:
    """The sentence on a split that lacks cases."""
    folders = f"in data.root={here.root}" + (f" and data.test_root={here.test_root}" if here.test_root else "")
    remedies = ["complete the folder (task=download)", "choose another split, such as data.split=auto"]
    if here.only is not None:
        folders = f"among data.cases={here.only} {folders}"
        remedies[0] = "leave data.cases out"
    if here.test_root is None and {*missing} <= {*whole.test}:
        remedies.insert(0, "set data.test_root= to a KiTS21 or KiTS23 folder, which holds these test cases")
    return (
        f"data.split={choice} needs {counted(len(missing), 'case')} not {folders} with a reference: {some(missing)}; "
        f"{', or '.join(remedies)}."
    )
