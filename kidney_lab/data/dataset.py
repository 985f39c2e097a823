"""A dataset: the cases of one KiTS-like folder, their labels and regions, and their split."""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

from kidney_lab.data.case_ids import parse_cases
from kidney_lab.data.check import check_cases
from kidney_lab.data.exclusions import excluded_cases
from kidney_lab.data.kits import IMAGE_FILE, SOURCE, Annotation, Case, case_folders, find_cases
from kidney_lab.data.lacking import no_annotators, no_reference
from kidney_lab.data.prepare import GridRecipe, prepare_store
from kidney_lab.data.split_choice import CasesHere, SplitChoice
from kidney_lab.data.split_files.load import some
from kidney_lab.data.splits import Split
from kidney_lab.data.store import Store
from kidney_lab.errors import InputError
from kidney_lab.labels import LABELS, REGIONS
from kidney_lab.wording import counted

TEST_LABEL_FILES = ("aggregated_MAJ_seg.nii.gz", "segmentation.nii.gz")
"""Names of the reference in `test_root`: KiTS21's, then KiTS23's."""

log = logging.getLogger(__name__)


@dataclass
class Dataset:
    """What config group `data` composes, by `from_config`.

    Args:
        name: of the dataset; names its stores.
        root: folder of `case_XXXXX` folders.
        labels: names of the foreground labels that references may hold.
        regions: names of the regions that are scored.
        label_files: names of the reference's file, the first that exists in a case's folder counts.
        spacing: mm, `(D, H, W)`, of the last stage's grid; None: native. Read by the model's config.
        order_z: of the spline across slices that are thicker than 3 mm: 3, 1 or 0. Read by the model's config.
        synthesize_missing_images: paint a CT around references that have no image.
        annotation: what training learns from: the reference ("majority"), the "first" annotator's instances, or one
            annotator's, "sampled" anew for every epoch.
        annotations: the values of `annotation` that this dataset offers.
        make: called with `root` before cases are looked for; writes the phantom.
        convert: called likewise; brings a dataset of another layout into that of KiTS, see `kidney_lab.data.convert`.
        source: where `task=download` finds the files.
        only: the cases that take part, as `parse_cases` reads them; None: all. In the configuration `cases`.
        split_by: "auto", the name of a split, or the path of a split file. In the configuration `split`.
        fold: of a split that has folds; None: the first.
        exclude: lists of bad cases that are left out: "none", a name, or names.
        test_root: a KiTS21 or KiTS23 folder that test cases are read from, with those images from `root` that it
            lacks; None: `root`.
        n_train: training cases of a seeded split; None: what the others leave.
        n_val: validation cases of a seeded split; None: 10 %.
        n_test: test cases of a seeded split; None: 20 %.
        split_seed: of a seeded split.
        max_time: of a stage's training. Read by the trainer's config.
        num_workers: processes that load batches; None: two less than there are cores, at most 8.
    """

    name: str
    root: str | None
    labels: Sequence[str]
    regions: Sequence[str]
    label_files: Sequence[str]
    spacing: Sequence[float] | None = None
    order_z: int = 3
    synthesize_missing_images: bool = False
    annotation: Annotation = "majority"
    annotations: Sequence[str] = ("majority",)
    make: Callable[..., None] | None = None
    convert: Callable[..., None] | None = None
    source: Any = None
    only: Any = None
    split_by: str = "auto"
    fold: int | None = None
    exclude: str | Sequence[str] = "none"
    test_root: str | None = None
    n_train: int | None = None
    n_val: int | None = None
    n_test: int | None = None
    split_seed: int = 0
    max_time: str | None = None
    num_workers: int | None = None

    @classmethod
    def from_config(cls, *, cases: Any = None, split: str = "auto", **settings: Any) -> "Dataset":
        """Makes the dataset of config group `data`, where `cases` and `split` are choices, not yet what was chosen."""
        return cls(only=cases, split_by=split, **settings)

    def __post_init__(self) -> None:
        for key, names, known in (("labels", self.labels, LABELS), ("regions", self.regions, REGIONS)):
            unknown = [name for name in names if name not in known]
            if unknown:
                raise InputError(f"data.{key} holds {unknown}: choose from {', '.join(known)}.")
        if self.annotation not in get_args(Annotation):
            allowed = ", ".join(get_args(Annotation))
            raise InputError(f"data.annotation={self.annotation} is unknown: choose one of {allowed}.")
        if self.annotation not in self.annotations:
            raise InputError(
                f"data.annotation={self.annotation} needs the masks of single annotators, which data={self.name} does "
                "not have: leave it at majority, or choose data=kits21 or data=kits23."
            )
        if self.order_z not in (0, 1, 3):
            raise InputError(f"data.order_z={self.order_z} is no order of a spline: choose 3, 1 or 0.")
        excluded_cases(self.exclude)  # a name that is not there is told before any file is looked at

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
        """Every case, by id; with `test_root` the test cases of the split are those found there."""
        if self.test_root is None:
            return self._found
        return {**self._found, **{name: self._found_for_test[name] for name in self.split.test}}

    @cached_property
    def _found(self) -> dict[str, Case]:
        """Cases in the folder, by id; writes the phantom, or converts another dataset, first where there is one."""
        for write in (self.make, self.convert):
            if write is not None:
                write(self.folder)
        cases = find_cases(
            self.folder,
            label_files=self.label_files,
            synthesize_missing_images=self.synthesize_missing_images,
            annotation=self.annotation,
        )
        found = {case.id: case for case in cases}
        if self.only is None:
            return found
        chosen = parse_cases(self.only)
        missing = [name for name in chosen if name not in found]
        if missing:
            raise InputError(
                f"data.cases={self.only} names {counted(len(missing), 'case')} that data.root={self.root} does not "
                f"hold: {some(missing)}; fetch what is missing by task=download, or choose others."
            )
        return {name: found[name] for name in chosen}

    @cached_property
    def _found_for_test(self) -> dict[str, Case]:
        """Cases that test cases are taken from, by id; an image that is missing there is taken from `root`."""
        if self.test_root is None:
            return self._found
        folder = Path(self.test_root).expanduser()
        if not case_folders(folder):
            raise InputError(
                f"data.test_root={self.test_root} holds no folders case_XXXXX: name a KiTS21 or KiTS23 folder."
            )
        paint = self.synthesize_missing_images
        cases = find_cases(folder, label_files=TEST_LABEL_FILES, synthesize_missing_images=paint)
        return {case.id: case if case.image is not None else self._with_own_image(case) for case in cases}

    def _with_own_image(self, case: Case) -> Case:
        image = self.folder / case.id / IMAGE_FILE
        return replace(case, image=image, synthesize=False) if image.is_file() else case

    @cached_property
    def split(self) -> Split:
        """Which cases train, validate and test; those without a reference (the challenges' test cases) take no part.

        Raises:
            InputError: no case has a reference, the split does not fit the dataset or lacks cases, or its settings
                contradict each other.
        """
        choice = SplitChoice(
            self.split_by, self.fold, self.exclude, self.n_train, self.n_val, self.n_test, seed=self.split_seed
        )
        labelled, for_test = _labelled(self._found), _labelled(self._found_for_test)
        if not labelled:
            raise InputError(no_reference(self.folder, [*self._found], label_files=self.label_files, dataset=self.name))
        split = choice.choose(CasesHere(self.name, labelled, for_test, self.root, self.test_root, self.only))
        left_out = sorted({*self._found} - labelled - {*split.cases})
        if left_out:
            wanted = " or ".join(self.label_files)
            cases = counted(len(left_out), "case")
            log.warning("%s without %s in %s left out: %s", cases, wanted, self.root, some(left_out))
        return split

    def check(self, cache: Path, workers: int | None, *, cases: Sequence[str] | None = None) -> None:
        """Reads cases once and raises one InputError that names all that is wrong with them.

        Args:
            cache: file that remembers what was read.
            workers: number of processes; None: one per core, at most 8.
            cases: ids; None: all that the split uses.

        Raises:
            InputError: lists every problem of every case.
        """
        used = self.split.cases if cases is None else cases
        # The later editions, which test cases may be taken from, have cysts where KiTS19 has none.
        borrowed = {*self.split.test} if self.test_root is not None else set()
        problems = []
        training = [self.cases[name] for name in self.split.train if name in used]
        if self.annotation != "majority" and not all(case.instances for case in training):
            problems.append(no_annotators(training, annotation=self.annotation, root=self.folder))
        for names, labels in (
            ([name for name in used if name not in borrowed], [LABELS[name] for name in self.labels]),
            ([name for name in used if name in borrowed], [*LABELS.values()]),
        ):
            try:
                check_cases([self.cases[name] for name in names], labels=[0, *labels], workers=workers, cache=cache)
            except InputError as error:
                problems.append(str(error))
        if problems:
            raise InputError("\n".join(problems))

    def prepare(
        self,
        recipe: GridRecipe,
        root: Path,
        workers: int | None,
        *,
        cases: Sequence[str] | None = None,
        rebuild: bool = False,
    ) -> Store:
        """Brings the store of one grid up to date.

        Args:
            recipe: the grid.
            root: folder of all stores.
            workers: number of processes; None: one per core, at most 8.
            cases: ids; None: training and validation cases, which are read again and again. Test cases are segmented
                from their files, as any new scan is.
            rebuild: replace a store of another format.

        Returns:
            The store; it may hold cases beside these.
        """
        used = [self.cases[name] for name in (cases if cases is not None else (*self.split.train, *self.split.val))]
        # Cases are named alike in every dataset: a folder of its own keeps two roots from replacing each other's.
        place = hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()[:6]
        drawn = "" if self.annotation == "majority" else "-annotators"
        return prepare_store(
            used, recipe, root, dataset=f"{self.name}{drawn}-{place}", workers=workers, rebuild=rebuild
        )


def _labelled(cases: Mapping[str, Case]) -> frozenset[str]:
    return frozenset(name for name, case in cases.items() if case.label is not None)
