"""Where an edition of KiTS lies on the web, and which file of it goes where in `data.root`.

The challenges' own repositories hold the reference segmentations and the clinical table; the images moved to the
Hugging Face dataset `neheller/KiTS-Challenge-Imaging`, where all editions share them by case number.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kidney_lab.data.case_ids import parse_cases
from kidney_lab.data.kits import IMAGE_FILE
from kidney_lab.errors import InputError

_INSTANCE = r"(case_\d{5})/%s/((?:kidney|tumor|cyst)_instance-\d+_annotation-\d+\.nii\.gz)"


@dataclass(frozen=True)
class RemoteFile:
    """One file to fetch.

    Args:
        url: where it lies.
        path: where it goes, below `data.root`, with `/` between folders.
        size: bytes, or None where nobody has said.
    """

    url: str
    path: str
    size: int | None = None


@dataclass(frozen=True)
class Source:
    """What config group `data/source` composes: the base URLs of one edition.

    Args:
        name: of the dataset, for messages.
        cases: numbers that the edition holds, as `parse_cases` takes them.
        images: URL of the folder with `case_XXXXX.nii.gz`.
        references: URL of the folder with `case_XXXXX/<label_file>` and the clinical table.
        label_file: name of the reference segmentation.
        clinical_file: name of the clinical table.
        instances_folder: name of the folder in a case's folder that holds the masks of single annotators; None: the
            edition has none.
        tree: URL of GitHub's listing of the repository, from which the names of those masks come.
    """

    name: str
    cases: str
    images: str
    references: str
    label_file: str
    clinical_file: str
    instances_folder: str | None = None
    tree: str | None = None

    def choose(self, cases: object) -> list[str]:
        """Ids of the cases to fetch.

        Args:
            cases: `data.cases`; None: all that the edition holds.

        Returns:
            Ids, sorted.

        Raises:
            InputError: `cases` cannot be read, or names one that the edition does not hold.
        """
        held = parse_cases(self.cases)
        if cases is None:
            return held
        chosen = parse_cases(cases)
        unknown = sorted({*chosen} - {*held})
        if unknown:
            raise InputError(
                f"data.cases={cases} names {unknown[0]}, which {self.name} does not give out: it holds {self.cases}."
            )
        return chosen

    def files(self, cases: Sequence[str]) -> list[RemoteFile]:
        """The clinical table, and image and reference of each case, case after case."""
        table = RemoteFile(f"{_folder(self.references)}/{self.clinical_file}", self.clinical_file)
        return [table, *(file for case in cases for file in self._files_of(case))]

    def _files_of(self, case: str) -> tuple[RemoteFile, RemoteFile]:
        image = RemoteFile(f"{_folder(self.images)}/{case}.nii.gz", f"{case}/{IMAGE_FILE}")
        label = f"{case}/{self.label_file}"
        return image, RemoteFile(f"{_folder(self.references)}/{label}", label)

    def instance_files(self, cases: Sequence[str], listing: Iterable[tuple[str, int]]) -> list[RemoteFile]:
        """Masks of single annotators; those of vessels and ureters, which KiTS21 holds as well, are left out.

        Args:
            cases: ids.
            listing: path and size in bytes of every file of the repository.

        Returns:
            Files sorted by path; none where the edition has no annotators.
        """
        pattern = re.compile(rf"(?:.*/)?{_INSTANCE % re.escape(self.instances_folder or '')}")
        wanted = {*cases}
        named = ((pattern.fullmatch(path), size) for path, size in listing)
        paths = {f"{m[1]}/{self.instances_folder}/{m[2]}": size for m, size in named if m is not None if m[1] in wanted}
        return [RemoteFile(f"{_folder(self.references)}/{path}", path, size) for path, size in sorted(paths.items())]


def _folder(url: str) -> str:
    return url.rstrip("/")
