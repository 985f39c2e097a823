"""A dataset: the cases of one KiTS-like folder, their labels and regions, and their split."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from kidney_lab.data.check import check_cases
from kidney_lab.data.kits import SOURCE, Case, find_cases
from kidney_lab.data.prepare import GridRecipe, prepare_store
from kidney_lab.data.splits import Split, seeded_split
from kidney_lab.data.store import Store
from kidney_lab.errors import InputError
from kidney_lab.labels import LABELS, REGIONS

log = logging.getLogger(__name__)


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
    root: str | None
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

    def __post_init__(self) -> None:
        for key, names, known in (("labels", self.labels, LABELS), ("regions", self.regions, REGIONS)):
            unknown = [name for name in names if name not in known]
            if unknown:
                raise InputError(f"data.{key} holds {unknown}: choose from {', '.join(known)}.")

    @property
    def folder(self) -> Path:
        """The root as a path.

        Raises:
            InputError: none is set.
        """
        if not self.root:
            raise InputError(f"data={self.name} needs data.root=. {SOURCE}")
        return Path(self.root).expanduser()

    @property
    def synthesized(self) -> bool:
        """Whether any image of it was made up, so that its scores say nothing about patients."""
        return self.make is not None or any(case.synthesize for case in self.cases.values())

    @cached_property
    def cases(self) -> dict[str, Case]:
        """Every case in the folder, by id; writes the phantom first where there is one to write."""
        if self.make is not None:
            self.make(self.folder)
        found = find_cases(
            self.folder,
            label_files=self.label_files,
            synthesize_missing_images=self.synthesize_missing_images,
        )
        return {case.id: case for case in found}

    @cached_property
    def split(self) -> Split:
        """Which cases train, validate and test; those without a reference (the challenges' test cases) take no part."""
        labelled = [name for name, case in self.cases.items() if case.label is not None]
        left_out = sorted({*self.cases} - {*labelled})
        if left_out:
            named = ", ".join(left_out[:5]) + (", ..." if len(left_out) > 5 else "")
            wanted = " or ".join(self.label_files)
            log.warning("%d cases in %s have no %s and are left out: %s", len(left_out), self.root, wanted, named)
        return seeded_split(labelled, n_train=self.n_train, n_val=self.n_val, n_test=self.n_test, seed=self.split_seed)

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
        place = hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()[:6]
        return prepare_store(used, recipe, root, dataset=f"{self.name}-{place}", workers=workers)
