"""A dataset: the cases of one KiTS-like folder, their labels and regions, and their split."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kidney_lab.data.check import check_cases
from kidney_lab.data.kits import Case, find_cases
from kidney_lab.data.prepare import GridRecipe, prepare_store
from kidney_lab.data.splits import Split, seeded_split
from kidney_lab.data.store import Store
from kidney_lab.labels import LABELS


@dataclass
class Dataset:
    """What config group `data` composes.

    Args:
        name: of the dataset; names its stores.
        root: folder of `case_XXXXX` folders.
        labels: names of the foreground labels that references may hold.
        regions: names of the regions that are scored.
        label_files: names of the reference's file, the first that exists in a case's folder counts.
        spacing: mm, `(D, H, W)`, of the last stage's grid; None: native. Read by the model's config.
        synthesize_missing_images: paint a CT around references that have no image.
        make: called with `root` before cases are looked for; writes the phantom.
        n_train: training cases; None: what the others leave.
        n_val: validation cases; None: 10 %.
        n_test: test cases; None: 20 %.
        split_seed: of the split.
        max_time: of a stage's training. Read by the trainer's config.
        num_workers: processes that load batches; None: two less than there are cores, at most 8.
    """

    name: str
    root: str
    labels: Sequence[str]
    regions: Sequence[str]
    label_files: Sequence[str]
    spacing: Sequence[float] | None = None
    synthesize_missing_images: bool = False
    make: Callable[..., None] | None = None
    n_train: int | None = None
    n_val: int | None = None
    n_test: int | None = None
    split_seed: int = 0
    max_time: str | None = None
    num_workers: int | None = None

    @property
    def synthesized(self) -> bool:
        """Whether any image of it was made up, so that its scores say nothing about patients."""
        return self.make is not None or any(case.synthesize for case in self.cases.values())

    @cached_property
    def cases(self) -> dict[str, Case]:
        """Every case in the folder, by id; writes the phantom first where there is one to write."""
        if self.make is not None:
            self.make(Path(self.root))
        found = find_cases(
            Path(self.root),
            label_files=self.label_files,
            synthesize_missing_images=self.synthesize_missing_images,
        )
        return {case.id: case for case in found}

    @cached_property
    def split(self) -> Split:
        """Which cases train, validate and test."""
        return seeded_split(
            list(self.cases), n_train=self.n_train, n_val=self.n_val, n_test=self.n_test, seed=self.split_seed
        )

    def check(self, cache: Path, workers: int | None) -> None:
        """Reads every case of the split once and raises one InputError that names all that is wrong with them."""
        used = [self.cases[name] for name in self.split.cases]
        check_cases(used, labels=[0, *(LABELS[name] for name in self.labels)], workers=workers, cache=cache)

    def prepare(self, recipe: GridRecipe, root: Path, workers: int | None) -> Store:
        """Brings the store of one grid up to date: training and validation cases, which are read again and again.

        Test cases are prepared when they are segmented, from their files, as any new scan is.
        """
        used = [self.cases[name] for name in (*self.split.train, *self.split.val)]
        # Cases are named alike in every dataset: a folder of its own keeps two roots from replacing each other's.
        place = hashlib.sha256(str(Path(self.root).resolve()).encode()).hexdigest()[:6]
        return prepare_store(used, recipe, root, dataset=f"{self.name}-{place}", workers=workers)
