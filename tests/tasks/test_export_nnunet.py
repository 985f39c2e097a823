import json

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from kidney_lab.composition.resolvers import register_resolvers
from kidney_lab.composition.search_path import config_folder
from kidney_lab.data.nifti import write_volume
from kidney_lab.errors import InputError
from kidney_lab.geometry import Volume, grid_from_spacing
from kidney_lab.tasks.export import export

GRID = grid_from_spacing((6, 12, 10), (3.0, 1.0, 1.0))


@pytest.fixture
def given(tmp_path):
    """The configuration of a command on four cases."""
    for number in range(4):
        folder, label = tmp_path / "data" / f"case_{number:05d}", np.zeros(GRID.shape, np.uint8)
        label[1:5, 2:9, 2:8], label[2:4, 4:7, 4:6] = 1, 2
        image = np.where(label > 0, 100, -100).astype(np.int16)
        write_volume(folder / "imaging.nii.gz", Volume(image, GRID))
        write_volume(folder / "segmentation.nii.gz", Volume(label, GRID))

    def make(*overrides):
        register_resolvers()
        paths = [f"data.root={tmp_path / 'data'}", f"prepare.root={tmp_path / 'stores'}", f"output={tmp_path / 'raw'}"]
        chosen = ["task=export", "format=nnunet", "data=kits19", "data.n_test=1", "data.n_val=1", "prepare.workers=1"]
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            return compose("config", overrides=[*chosen, *paths, *overrides])

    return make


def test_the_dataset_is_written_in_nnunet_s_layout(given, tmp_path, capsys):
    export(given())

    folder = tmp_path / "raw" / "Dataset500_kits19"
    (split,) = json.loads((folder / "splits_final.json").read_text())
    (test,) = json.loads((folder / "dataset.json").read_text())["kidney_lab"]["test"]
    training = sorted(split["train"] + split["val"])
    assert len(training) == 3
    assert {path.name: sorted(file.name for file in path.iterdir()) for path in folder.iterdir() if path.is_dir()} == {
        "imagesTr": [f"{case}_0000.nii.gz" for case in training],
        "labelsTr": [f"{case}.nii.gz" for case in training],
        "imagesTs": [f"{test}_0000.nii.gz"],
        "labelsTs": [f"{test}.nii.gz"],
    }
    assert (folder / "labelsTs" / f"{test}.nii.gz").samefile(tmp_path / "data" / test / "segmentation.nii.gz")
    said = capsys.readouterr().out
    assert f"dataset  {folder}: 3 cases in imagesTr, 1 in imagesTs; 1 fold\n" in said
    assert "nnUNetv2_plan_and_preprocess -d 500 --verify_dataset_integrity" in said


def test_a_split_without_test_cases_has_no_test_folders(given, tmp_path):
    export(given("data.n_test=0", "nnunet.copy=true", "nnunet.name=all", "nnunet.dataset_id=7"))

    folder = tmp_path / "raw" / "Dataset007_all"
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["imagesTr", "labelsTr"]
    linked = (folder / "labelsTr" / "case_00000.nii.gz").samefile(
        tmp_path / "data" / "case_00000" / "segmentation.nii.gz"
    )
    assert not linked


def test_a_mask_that_does_not_lie_on_its_image_is_refused_before_anything_is_written(given, tmp_path):
    moved = grid_from_spacing(GRID.shape, (4.0, 1.0, 1.0))
    write_volume(tmp_path / "data" / "case_00002" / "segmentation.nii.gz", Volume(np.ones(GRID.shape, np.uint8), moved))

    with pytest.raises(InputError, match="mm apart"):
        export(given())
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("run=somewhere", "run=somewhere goes with format=bundle"),
        ("format=monai", "format=monai is unknown: choose one of bundle, nnunet"),
        ("nnunet.copy=maybe", "nnunet.copy=maybe is no switch"),
    ],
)
def test_settings_that_mean_nothing_are_refused(given, override, sentence):
    with pytest.raises(InputError, match=sentence):
        export(given(override))


def test_nnunet_itself_finds_no_fault_and_writes_the_labels_of_its_regions(given, tmp_path):
    integrity = pytest.importorskip("nnunetv2.experiment_planning.verify_dataset_integrity")
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    export(given("data.regions=[kidney_and_mass,tumor]"))
    folder = tmp_path / "raw" / "Dataset500_kits19"
    integrity.verify_dataset_integrity(str(folder), 1)  # raises where it finds one

    described = json.loads((folder / "dataset.json").read_text())
    manager = LabelManager(described["labels"], described["regions_class_order"])
    inside = np.array([[True, True, False], [True, False, False]]).T[..., None, None]  # tumor, kidney, background
    probabilities = np.moveaxis(inside, 0, 1).astype(np.float32)
    assert manager.convert_probabilities_to_segmentation(probabilities).ravel().tolist() == [2, 1, 0]
