import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kidney_lab.data.dataset import Dataset
from kidney_lab.data.nifti import write_volume
from kidney_lab.errors import InputError
from kidney_lab.export.nnunet import DATASET_FILE, NnunetDataset, claim_folder, folds_of, plain_labels, region_labels
from kidney_lab.geometry import Volume, grid_from_spacing

SHAPE = (4, 6, 6)
SPLIT = {"test": [4, 5], "folds": [[0], [1], [2, 3]]}


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    """Six cases, a seventh without a reference, and a split of three folds."""
    root, grid = tmp_path / "data", grid_from_spacing(SHAPE, (3.0, 1.0, 1.0))
    for number in range(7):
        folder = root / f"case_{number:05d}"
        write_volume(folder / "imaging.nii.gz", Volume(np.full(SHAPE, number, np.int16), grid))
        if number < 6:
            write_volume(folder / "segmentation.nii.gz", Volume(np.ones(SHAPE, np.uint8), grid))
    (tmp_path / "split.json").write_text(json.dumps(SPLIT))
    return Dataset(
        name="trial",
        root=str(root),
        labels=["kidney", "tumor"],
        regions=["kidney_and_mass", "tumor"],
        label_files=["segmentation.nii.gz"],
        split_by=str(tmp_path / "split.json"),
    )


def made(dataset, **settings) -> NnunetDataset:
    return NnunetDataset.of(dataset, **{"dataset_id": 501, "name": "trial", **settings})


def ids(*numbers):
    return [f"case_{number:05d}" for number in numbers]


class TestLabels:
    def test_the_regions_of_kits_write_the_labels_that_nnunet_s_own_conversion_names(self):
        # Dataset220_KiTS2023.py: kidney (1, 2, 3), masses (2, 3), tumor 2, and regions_class_order (1, 3, 2).
        found = region_labels(["kidney_and_mass", "mass", "tumor"], ["kidney", "tumor", "cyst"])

        assert found["labels"] == {"background": 0, "kidney_and_mass": [1, 2, 3], "mass": [2, 3], "tumor": [2]}
        assert found["regions_class_order"] == [1, 3, 2]

    def test_kits19_has_no_cysts(self):
        found = region_labels(["kidney_and_mass", "tumor"], ["kidney", "tumor"])

        assert found["labels"] == {"background": 0, "kidney_and_mass": [1, 2], "tumor": [2]}
        assert found["regions_class_order"] == [1, 2]

    @pytest.mark.parametrize(
        "regions",
        [["tumor"], ["tumor", "kidney_and_mass"], ["kidney_and_mass"], ["kidney_and_mass", "kidney", "tumor"]],
    )
    def test_regions_that_are_not_nested_are_refused(self, regions):
        with pytest.raises(InputError, match=r"cannot be trained as regions of nnU-Net.*set nnunet\.regions=false"):
            region_labels(regions, ["kidney", "tumor"])

    def test_labels_go_by_their_values(self):
        assert plain_labels(["kidney", "cyst", "tumor"]) == {
            "labels": {"background": 0, "kidney": 1, "cyst": 3, "tumor": 2}
        }


class TestCases:
    def test_every_fold_is_there_whichever_is_chosen(self, dataset):
        for fold in (None, 2):
            assert made(replace(dataset, fold=fold)).splits() == [
                {"train": ids(1, 2, 3), "val": ids(0)},
                {"train": ids(0, 2, 3), "val": ids(1)},
                {"train": ids(0, 1), "val": ids(2, 3)},
            ]

    def test_no_test_case_and_none_without_a_reference_is_among_the_training_cases(self, dataset):
        found = made(dataset)

        assert (found.training_cases, found.test_cases) == (ids(0, 1, 2, 3), ids(4, 5))

    def test_a_split_without_folds_is_one(self, dataset):
        drawn = replace(dataset, split_by="auto", n_val=1, n_test=1)

        assert folds_of(drawn) == (drawn.split,)

    def test_folds_that_are_tested_on_other_cases_are_not_mixed(self, dataset, tmp_path):
        file = tmp_path / "splits.json"
        file.write_text(json.dumps([{"train": [0, 1], "val": [2], "test": [3]}, {"train": [2, 3], "val": [1]}]))
        found = made(replace(dataset, split_by=str(file)))

        assert found.splits() == [{"train": ids(0, 1), "val": ids(2)}]
        assert found.test_cases == ids(3)

    def test_excluded_cases_are_nowhere(self, dataset):
        for number in (15, 37):
            write_case = Path(dataset.root) / f"case_{number:05d}"
            write_case.mkdir()
            for name in ("imaging.nii.gz", "segmentation.nii.gz"):
                (write_case / name).symlink_to(Path(dataset.root) / "case_00000" / name)
        found = made(replace(dataset, split_by="auto", n_val=1, n_test=1, exclude="kits19_issue21"))

        assert not {*ids(15, 37)} & {*found.training_cases, *found.test_cases}
        assert found.dataset_json()["kidney_lab"]["excluded"] == ids(15, 37)

    def test_an_annotator_drawn_per_epoch_is_refused_and_the_first_needs_masks(self, dataset):
        several = replace(dataset, annotations=["majority", "first", "sampled"])

        with pytest.raises(InputError, match=r"sampled draws an annotator anew.*choose data\.annotation=majority or"):
            made(replace(several, annotation="sampled"))
        with pytest.raises(InputError, match=r"data\.annotation=first learns from masks of single annotators"):
            made(replace(several, annotation="first"))


class TestDatasetJson:
    def test_it_has_the_keys_of_nnunet_and_says_what_it_was_made_of(self, dataset):
        found = made(dataset).dataset_json()

        assert (found["channel_names"], found["numTraining"], found["file_ending"]) == ({"0": "CT"}, 4, ".nii.gz")
        assert found["kidney_lab"]["split_hash"] == [replace(dataset, fold=fold).split.hash for fold in range(3)]
        assert "SYNTHESIZED" not in found["description"]
        assert "SYNTHESIZED" in made(replace(dataset, make=lambda root: None)).dataset_json()["description"]

    @pytest.mark.parametrize("value", [0, 1000, "7", 1.5, True])
    def test_an_id_that_nnunet_cannot_find_is_refused(self, dataset, value):
        with pytest.raises(InputError, match=f"nnunet.dataset_id={value} is no id: give a whole number from 1 to 999"):
            made(dataset, dataset_id=value)

    @pytest.mark.parametrize("name", ["a/b", "", "..", "my data"])
    def test_a_name_that_is_no_folder_is_refused(self, dataset, name):
        with pytest.raises(InputError, match="names no folder"):
            made(dataset, name=name)


class TestClaim:
    def write(self, dataset, output, **settings):
        found = made(dataset, **settings)
        folder = claim_folder(found, output)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / DATASET_FILE).write_text(json.dumps(found.dataset_json()))
        return folder

    def test_the_same_dataset_goes_on_in_its_folder(self, dataset, tmp_path):
        assert self.write(dataset, tmp_path) == self.write(dataset, tmp_path) == tmp_path / "Dataset501_trial"

    def test_another_split_or_other_labels_are_refused(self, dataset, tmp_path):
        self.write(dataset, tmp_path)

        with pytest.raises(
            InputError, match=r"holds another dataset, split .*\(labels, regions_class_order of dataset"
        ):
            self.write(dataset, tmp_path, regions=False)
        with pytest.raises(InputError, match=r"\(.*numTraining.*kidney_lab of dataset.json differ\): choose another"):
            self.write(replace(dataset, split_by="auto", n_val=1, n_test=1), tmp_path)

    def test_an_id_is_given_once(self, dataset, tmp_path):
        (tmp_path / "Dataset501_Liver").mkdir()

        with pytest.raises(InputError, match="dataset_id=501 is that of Dataset501_Liver"):
            self.write(dataset, tmp_path)

    def test_a_folder_of_something_else_is_refused(self, dataset, tmp_path):
        (tmp_path / "Dataset501_trial" / "imagesTr").mkdir(parents=True)
        with pytest.raises(InputError, match=r"is there and has no dataset\.json"):
            self.write(dataset, tmp_path)

        (tmp_path / "Dataset501_trial" / DATASET_FILE).write_text("{")
        with pytest.raises(InputError, match="cannot be read"):
            self.write(dataset, tmp_path)
