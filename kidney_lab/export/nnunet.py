"""A dataset as nnU-Net v2 wants it in `nnUNet_raw`, in our split, so that nnU-Net trains and is tested on our cases.

DatasetXXX_Name/imagesTr/case_XXXXX_0000.nii.gz  training and validation cases of every fold
DatasetXXX_Name/labelsTr/case_XXXXX.nii.gz
DatasetXXX_Name/imagesTs, labelsTs               test cases, which nnU-Net neither plans by nor trains on
DatasetXXX_Name/splits_final.json                a fold of ours each, for `nnUNet_preprocessed/DatasetXXX_Name`
DatasetXXX_Name/dataset.json                     labels, and from what all this was made

Layout and keys: nnU-Net's `documentation/dataset_format.md` and `region_based_training.md`. Regions, and the reader
that brings volumes into one orientation, are those of its own conversion of KiTS (`Dataset220_KiTS2023.py`).
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kidney_lab.data.dataset import Dataset
from kidney_lab.data.lacking import no_annotators
from kidney_lab.data.split_files.load import DEFAULT, read_split
from kidney_lab.data.splits import Split
from kidney_lab.errors import InputError
from kidney_lab.labels import BACKGROUND, LABELS, REGIONS

DATASET_FILE, SPLITS_FILE = "dataset.json", "splits_final.json"
_LARGEST_ID = 999


@dataclass(frozen=True)
class NnunetDataset:
    """What is written.

    Args:
        dataset: whose cases.
        folds: of its split, in order; one where it has none.
        dataset_id: XXX of `DatasetXXX_Name`, from 1 to 999.
        name: Name of `DatasetXXX_Name`.
        regions: train the nested regions that are scored, as nnU-Net does for KiTS; else one label per voxel.
    """

    dataset: Dataset
    folds: tuple[Split, ...]
    dataset_id: int
    name: str
    regions: bool = True

    @classmethod
    def of(cls, dataset: Dataset, *, dataset_id: int, name: str, regions: bool = True) -> "NnunetDataset":
        """Looks for the cases, and makes sure that nnU-Net can be given them.

        Raises:
            InputError: a value is none of nnU-Net's, or nnU-Net cannot train what the dataset is to be trained on.
        """
        if type(dataset_id) is not int or not 1 <= dataset_id <= _LARGEST_ID:
            raise InputError(f"nnunet.dataset_id={dataset_id} is no id: give a whole number from 1 to {_LARGEST_ID}.")
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", str(name), re.ASCII):
            raise InputError(
                f"nnunet.name={name} names no folder: give letters, digits, and between them one of the signs _ - ."
            )
        made = cls(dataset, folds_of(dataset), dataset_id, str(name), regions)
        _check_annotation(dataset, made.training_cases)
        made.labels()
        return made

    @property
    def folder_name(self) -> str:
        """`DatasetXXX_Name`."""
        return f"Dataset{self.dataset_id:03d}_{self.name}"

    @property
    def training_cases(self) -> list[str]:
        """Ids of the cases that train or validate in any fold, sorted."""
        return sorted({case for fold in self.folds for case in (*fold.train, *fold.val)})

    @property
    def test_cases(self) -> list[str]:
        """Ids of the test cases, sorted."""
        return sorted(self.folds[0].test)

    def labels(self) -> dict[str, Any]:
        """The keys of `dataset.json` that say what is learned."""
        names = list(self.dataset.labels)
        return region_labels(self.dataset.regions, names) if self.regions else plain_labels(names)

    def dataset_json(self) -> dict[str, Any]:
        """What `dataset.json` holds: equal for equal data, whatever machine it is written on."""
        dataset, first = self.dataset, self.folds[0]
        made_up = "; the images are SYNTHESIZED and say nothing about patients" if dataset.synthesized else ""
        return {
            "channel_names": {"0": "CT"},
            **self.labels(),
            "numTraining": len(self.training_cases),
            "file_ending": ".nii.gz",
            "overwrite_image_reader_writer": "NibabelIOWithReorient",
            "name": self.name,
            "description": f"{dataset.name} in the split {first.name} of kidney_lab{made_up}",
            "reference": "https://kits-challenge.org",
            "kidney_lab": {
                "dataset": dataset.name,
                "synthesized": dataset.synthesized,
                "annotation": dataset.annotation,
                "split": first.name,
                "split_hash": [fold.hash for fold in self.folds],
                "exclude": list(first.exclude),
                "excluded": list(first.excluded),
                "test": self.test_cases,
            },
        }

    def splits(self) -> list[dict[str, list[str]]]:
        """What `splits_final.json` holds."""
        return [{"train": list(fold.train), "val": list(fold.val)} for fold in self.folds]


def folds_of(dataset: Dataset) -> tuple[Split, ...]:
    """Every fold of the dataset's split, whichever of them is chosen.

    A split without folds, and one whose folds are not made of the same cases and tested on the same, is the chosen fold
    alone: nnU-Net sees the training cases of all folds at once.
    """
    chosen = dataset.split
    if chosen.fold is None:
        return (chosen,)
    file = read_split(DEFAULT if dataset.split_by == "auto" else dataset.split_by)
    if not file.has_folds:
        return (chosen,)
    whole = (file.split(dataset.name, fold) for fold in range(len(file.folds)))
    folds = tuple(fold.without(chosen.excluded, exclude=chosen.exclude) for fold in whole)
    alike = all(fold.test == chosen.test and {*fold.cases} == {*chosen.cases} for fold in folds)
    return folds if alike else (chosen,)


def region_labels(regions: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
    """Keys of `dataset.json` for training regions, each of which writes a label over those of the regions around it.

    Args:
        regions: names, outermost first.
        labels: names of the foreground labels of the references.

    Returns:
        `labels`, the values of every region, and `regions_class_order`, the label that each of them writes.

    Raises:
        InputError: the regions are not nested such that each adds one label, or leave a label out.

    >>> region_labels(["kidney_and_mass", "mass", "tumor"], ["kidney", "tumor", "cyst"])["regions_class_order"]
    [1, 3, 2]
    """
    there = {LABELS[name] for name in labels}
    values = {name: [value for value in REGIONS[name] if value in there] for name in regions}
    inner = [*values.values(), []][1:]
    own = [sorted({*outer} - {*within}) for outer, within in zip(values.values(), inner, strict=True)]
    nested = all({*within} <= {*outer} for outer, within in zip(values.values(), inner, strict=True))
    if not nested or {value for values_ in own for value in values_} != there or any(len(one) != 1 for one in own):
        raise InputError(
            f"data.regions=[{','.join(regions)}] cannot be trained as regions of nnU-Net, each of which has to lie in "
            f"the one before and add one of the labels {', '.join(labels)}: set nnunet.regions=false."
        )
    return {"labels": {"background": BACKGROUND, **values}, "regions_class_order": [one for (one,) in own]}


def plain_labels(labels: Sequence[str]) -> dict[str, Any]:
    """Keys of `dataset.json` for training one label per voxel."""
    return {"labels": {"background": BACKGROUND, **{name: LABELS[name] for name in labels}}}


def claim_folder(made: NnunetDataset, output: Path) -> Path:
    """Makes sure that the dataset's folder is free or its own.

    Args:
        made: what is to be written.
        output: `nnUNet_raw`.

    Returns:
        `output/DatasetXXX_Name`, which may not be there yet.

    Raises:
        InputError: it holds something else, or another dataset has the id.
    """
    folder = output / made.folder_name
    others = sorted(path.name for path in output.glob(f"Dataset{made.dataset_id:03d}_*") if path != folder)
    if others:
        raise InputError(
            f"nnunet.dataset_id={made.dataset_id} is that of {others[0]} in output={output}, and nnU-Net finds "
            "datasets by their id: choose another."
        )
    file = folder / DATASET_FILE
    if folder.exists() and not file.is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there and has no {DATASET_FILE}: choose another nnunet.dataset_id or output.")
    if file.is_file():
        _refuse_another(file, made.dataset_json())
    return folder


def _refuse_another(file: Path, now: dict[str, Any]) -> None:
    try:
        before = dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise InputError(f"{file} cannot be read ({error}): delete its folder, or choose another output.") from error
    differing = [key for key in dict.fromkeys((*now, *before)) if before.get(key) != now.get(key)]
    if differing:
        raise InputError(
            f"{file.parent} holds another dataset, split or choice of labels ({', '.join(differing)} of {file.name} "
            "differ): choose another nnunet.dataset_id, or delete that folder."
        )


def _check_annotation(dataset: Dataset, training: Sequence[str]) -> None:
    if dataset.annotation == "sampled":
        raise InputError(
            "data.annotation=sampled draws an annotator anew for every epoch, but nnU-Net reads one reference per "
            "case: choose data.annotation=majority or first."
        )
    cases = [dataset.cases[name] for name in training]
    if dataset.annotation == "first" and not all(case.instances for case in cases):
        raise InputError(no_annotators(cases, annotation="first", root=dataset.folder))
