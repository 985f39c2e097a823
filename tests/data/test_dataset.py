from functools import partial
from pathlib import Path

import numpy as np
import pytest

from kidney_lab.data.dataset import Dataset
from kidney_lab.data.nifti import write_volume
from kidney_lab.data.prepare import GridRecipe
from kidney_lab.errors import InputError
from kidney_lab.geometry import Volume, grid_from_spacing

SHAPE = (8, 20, 20)
RECIPE = GridRecipe(spacing=(4.0, 2.0, 2.0), order=1)


def write_cases(root: Path, *, n: int = 5, label: int = 1, images: bool = True) -> None:
    grid = grid_from_spacing(SHAPE, (4.0, 1.0, 1.0))
    for k in range(n):
        folder = root / f"case_{k:05d}"
        folder.mkdir(parents=True, exist_ok=True)
        image, mask = np.full(SHAPE, -1000, np.int16), np.zeros(SHAPE, np.uint8)
        image[:, 4:16, 4:16] = 40 + k
        mask[2:5, 7:12, 7:12] = label
        if images:
            write_volume(folder / "imaging.nii.gz", Volume(image, grid))
        write_volume(folder / "segmentation.nii.gz", Volume(mask, grid))


def dataset(root: Path, **settings) -> Dataset:
    values = {"labels": ["kidney", "tumor"], "regions": ["kidney_and_mass", "tumor"], **settings}
    return Dataset(name="trial", root=str(root), label_files=["segmentation.nii.gz"], **values)


def test_cases_are_found_by_id_and_split(tmp_path):
    write_cases(tmp_path)

    data = dataset(tmp_path, n_val=1, n_test=2)

    assert list(data.cases) == [f"case_{k:05d}" for k in range(5)]
    assert sorted(data.split.cases) == list(data.cases)
    assert (len(data.split.train), len(data.split.val), len(data.split.test)) == (2, 1, 2)
    assert not data.synthesized


def test_the_phantom_is_written_once_before_cases_are_looked_for(tmp_path):
    calls = []

    def make(root: Path, *, n: int) -> None:
        calls.append(root)
        write_cases(root, n=n)

    data = dataset(tmp_path / "phantom", make=partial(make, n=4))

    assert len(data.cases) == len(data.split.cases) == 4
    assert calls == [tmp_path / "phantom"]
    assert data.synthesized


def test_cases_whose_images_are_painted_make_the_dataset_a_synthesized_one(tmp_path):
    write_cases(tmp_path, images=False)

    assert dataset(tmp_path, synthesize_missing_images=True).synthesized
    assert not dataset(tmp_path).synthesized


def test_the_check_names_what_is_wrong_with_the_cases_of_the_split(tmp_path):
    write_cases(tmp_path / "data", label=3)

    dataset(tmp_path / "data", labels=["kidney", "tumor", "cyst"]).check(tmp_path / "a", workers=1)
    with pytest.raises(InputError) as refused:
        dataset(tmp_path / "data").check(tmp_path / "b", workers=1)

    assert all(f"case_{k:05d}" in str(refused.value) for k in range(5))


def test_cases_beyond_the_split_are_not_checked(tmp_path):
    write_cases(tmp_path / "data")
    data = dataset(tmp_path / "data", n_train=2, n_val=1, n_test=1)
    (left_out,) = set(data.cases) - set(data.split.cases)
    (tmp_path / "data" / left_out / "imaging.nii.gz").write_bytes(b"broken")

    data.check(tmp_path / "cache", workers=1)


def test_the_store_holds_training_and_validation_cases_and_never_the_test_s(tmp_path):
    write_cases(tmp_path / "data")
    data = dataset(tmp_path / "data")

    store = data.prepare(RECIPE, tmp_path / "stores", workers=1)

    assert store.cases == sorted((*data.split.train, *data.split.val))
    # The body and its margin: 16 of 20 mm rows and columns, at 2 mm.
    assert store[store.cases[0]].spacing == pytest.approx((4.0, 2.0, 2.0))


def test_two_folders_of_one_dataset_have_two_stores_and_one_folder_has_one(tmp_path, monkeypatch):
    write_cases(tmp_path / "a", n=3)
    write_cases(tmp_path / "b", n=3)
    monkeypatch.chdir(tmp_path)

    paths = [dataset(root).prepare(RECIPE, tmp_path / "stores", 1).path for root in (tmp_path / "a", Path("a"), "b")]

    assert paths[0] == paths[1] != paths[2]
    assert paths[0].name.startswith("trial-")
