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


def write_official(tmp_path: Path, *, name: str = "aggregated_MAJ_seg.nii.gz") -> Dataset:
    """KiTS19 in small: cases 0 to 3 in one folder, cases 4 and 5 (with cysts) in the folder of a later edition."""
    write_cases(tmp_path / "kits19", n=4)
    write_cases(tmp_path / "later", n=6, label=3)
    for folder in (tmp_path / "later").iterdir():
        (folder / "segmentation.nii.gz").rename(folder / name)
    (tmp_path / "official.json").write_text('{"train": [0, 1, 2], "val": [3], "test": [4, 5]}')
    return dataset(tmp_path / "kits19", split_by=str(tmp_path / "official.json"), test_root=str(tmp_path / "later"))


@pytest.mark.parametrize("name", ["aggregated_MAJ_seg.nii.gz", "segmentation.nii.gz"])
def test_test_cases_come_from_their_own_folder_with_the_masks_of_either_edition(tmp_path, name):
    data = write_official(tmp_path, name=name)

    assert data.split.test == ("case_00004", "case_00005")
    assert data.cases["case_00005"].label == tmp_path / "later" / "case_00005" / name
    assert data.cases["case_00000"].label == tmp_path / "kits19" / "case_00000" / "segmentation.nii.gz"
    assert len(data.cases) == 6


def test_cysts_are_allowed_in_test_cases_of_a_later_edition_alone(tmp_path):
    data = write_official(tmp_path)
    data.check(tmp_path / "a", workers=1)

    write_cases(tmp_path / "kits19", n=1, label=3)
    (tmp_path / "later" / "case_00004" / "imaging.nii.gz").write_bytes(b"broken")
    with pytest.raises(InputError) as refused:
        data.check(tmp_path / "b", workers=1)
    assert "case_00000" in str(refused.value)
    assert "case_00004" in str(refused.value)
    assert "case_00005" not in str(refused.value)


def test_a_folder_of_test_cases_that_holds_none_is_named(tmp_path):
    write_cases(tmp_path)
    with pytest.raises(InputError, match=r"data\.test_root=.*nowhere holds no folders case_XXXXX"):
        dataset(tmp_path, test_root=str(tmp_path / "nowhere")).cases  # noqa: B018


def test_a_test_case_without_an_image_there_takes_that_of_the_dataset_s_own_folder(tmp_path):
    data = write_official(tmp_path)
    write_cases(tmp_path / "kits19", n=6)
    for name in ("case_00004", "case_00005"):  # as KiTS19 gives them out, and KiTS21 and KiTS23 their references
        (tmp_path / "kits19" / name / "segmentation.nii.gz").unlink()
    (tmp_path / "later" / "case_00004" / "imaging.nii.gz").unlink()

    assert data.cases["case_00004"].image == tmp_path / "kits19" / "case_00004" / "imaging.nii.gz"
    assert data.cases["case_00004"].label == tmp_path / "later" / "case_00004" / "aggregated_MAJ_seg.nii.gz"
    assert data.cases["case_00005"].image == tmp_path / "later" / "case_00005" / "imaging.nii.gz"
    data.check(tmp_path / "cache", workers=1)


def test_such_an_image_is_not_painted(tmp_path):
    data = write_official(tmp_path)
    data.synthesize_missing_images = True
    write_cases(tmp_path / "kits19", n=5)
    for name in ("case_00004", "case_00005"):
        (tmp_path / "later" / name / "imaging.nii.gz").unlink()

    assert not data.cases["case_00004"].synthesize
    assert data.cases["case_00005"].synthesize


@pytest.mark.parametrize(
    ("there", "wanted", "words"),
    [
        ("segmentation.nii.gz", "aggregated_MAJ_seg.nii.gz", "did you mean data=kits19 or data=kits23\\?"),
        ("aggregated_MAJ_seg.nii.gz", "segmentation.nii.gz", "did you mean data=kits21\\?"),
    ],
)
def test_a_folder_of_another_edition_is_told_by_its_references(tmp_path, there, wanted, words):
    write_cases(tmp_path, n=3)
    for folder in tmp_path.iterdir():
        (folder / "segmentation.nii.gz").rename(folder / there)
    data = Dataset("trial", str(tmp_path), ["kidney"], ["tumor"], [wanted])

    with pytest.raises(
        InputError,
        match=f"holds 3 cases but no {wanted}, the reference of data=trial; there is {there} instead: {words}",
    ):
        data.split  # noqa: B018


def test_a_folder_without_references_is_told(tmp_path):
    write_cases(tmp_path, n=1)
    (tmp_path / "case_00000" / "segmentation.nii.gz").unlink()

    with pytest.raises(
        InputError, match=r"holds 1 case but no segmentation\.nii\.gz, .*no other reference either: fetch"
    ):
        dataset(tmp_path).split  # noqa: B018


def test_training_cases_without_masks_of_annotators_are_named_in_one_sentence(tmp_path):
    write_cases(tmp_path / "data", n=10)
    offered = {"annotations": ["majority", "first", "sampled"]}
    data = dataset(tmp_path / "data", annotation="sampled", **offered)
    for name in data.split.train[:-2]:
        folder = tmp_path / "data" / name
        (folder / "instances").mkdir()
        for kind in ("annotation-1", "annotation-2"):
            source = (folder / "segmentation.nii.gz").read_bytes()
            (folder / "instances" / f"kidney_instance-1_{kind}.nii.gz").write_bytes(source)

    data = dataset(tmp_path / "data", annotation="sampled", **offered)
    with pytest.raises(InputError) as refused:
        data.check(tmp_path / "cache", workers=1)
    assert str(refused.value) == (
        f"data.annotation=sampled learns from masks of single annotators, which 2 of the 7 training cases in data.root="
        f"{tmp_path / 'data'} lack: {', '.join(data.split.train[-2:])}; set data.annotation=majority, or fetch them by "
        "task=download download.instances=true."
    )
    data.check(tmp_path / "cache", workers=1, cases=data.split.train[:-2])
    data.check(tmp_path / "cache", workers=1, cases=data.split.val)  # which are validated on by their references
    dataset(tmp_path / "data", **offered).check(tmp_path / "cache", workers=1)


def test_the_split_knows_which_cases_were_chosen(tmp_path):
    write_cases(tmp_path, n=6)
    (tmp_path / "mine.json").write_text('{"train": [0, 1], "val": [5]}')

    with pytest.raises(InputError, match=r"needs 1 case not among data\.cases=0-3 in data\.root=.*case_00005"):
        dataset(tmp_path, only="0-3", split_by=str(tmp_path / "mine.json")).split  # noqa: B018


def test_chosen_cases_alone_take_part(tmp_path):
    write_cases(tmp_path, n=8)

    data = dataset(tmp_path, only="1-4,7")
    assert list(data.cases) == [f"case_{k:05d}" for k in (1, 2, 3, 4, 7)]
    assert sorted(data.split.cases) == list(data.cases)
    with pytest.raises(InputError, match=r"data\.cases=6-9 names 2 cases .* does not hold: case_00008, case_00009;"):
        dataset(tmp_path, only="6-9").cases  # noqa: B018


def test_cases_without_a_reference_are_left_out_and_named(tmp_path, caplog):
    write_cases(tmp_path, n=6)
    (tmp_path / "case_00002" / "segmentation.nii.gz").unlink()

    assert "case_00002" not in dataset(tmp_path).split.cases
    assert f"1 case without segmentation.nii.gz in {tmp_path} left out: case_00002" in caplog.text


def test_hidden_files_and_supplements_are_no_cases(tmp_path):
    write_cases(tmp_path)
    (tmp_path / ".suppl.case_00007").mkdir()
    (tmp_path / "case_00000" / ".suppl.imaging.nii.gz").write_bytes(b"not a volume")
    (tmp_path / "case_00000" / "instances").mkdir()
    (tmp_path / "case_00000" / "instances" / ".suppl.kidney_instance-1_annotation-1.nii.gz").write_bytes(b"no volume")

    data = dataset(tmp_path, annotation="first", annotations=["majority", "first"])
    assert list(data.cases) == [f"case_{k:05d}" for k in range(5)]
    assert data.cases["case_00000"].instances == ()
    dataset(tmp_path).check(tmp_path / "cache", workers=1)


def test_annotations_of_single_annotators_are_prepared_into_a_store_of_their_own(tmp_path):
    write_cases(tmp_path / "data", n=3)
    offered = {"annotations": ["majority", "first", "sampled"]}

    names = [
        dataset(tmp_path / "data", annotation=choice, **offered).prepare(RECIPE, tmp_path / "stores", 1).path.name
        for choice in ("majority", "first", "sampled")
    ]
    assert names[1] == names[2] != names[0]
    assert names[1].startswith("trial-annotators-")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"annotation": "mean"}, r"data\.annotation=mean is unknown: choose one of majority, first, sampled"),
        (
            {"annotation": "first"},
            r"data\.annotation=first needs the masks of single annotators, which data=trial does",
        ),
        ({"order_z": 2}, r"data\.order_z=2 is no order of a spline: choose 3, 1 or 0"),
        ({"exclude": "bad"}, r"data\.exclude=bad is unknown"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_once(tmp_path, settings, message):
    with pytest.raises(InputError, match=message):
        dataset(tmp_path / "nowhere", **settings)


def test_the_configuration_speaks_of_cases_and_split(tmp_path):
    write_cases(tmp_path, n=6)
    (tmp_path / "mine.json").write_text('{"train": [0, 1], "val": [2]}')
    settings = {"labels": ["kidney"], "regions": ["tumor"], "label_files": ["segmentation.nii.gz"]}
    split = str(tmp_path / "mine.json")
    data = Dataset.from_config(name="trial", root=str(tmp_path), cases="0-3", split=split, **settings)

    assert len(data.cases) == 4
    assert data.split.train == ("case_00000", "case_00001")
    assert data.split.scored_cases == ("case_00002",)


def test_the_store_holds_the_cases_that_are_asked_for(tmp_path):
    write_cases(tmp_path / "data")

    store = dataset(tmp_path / "data").prepare(RECIPE, tmp_path / "stores", 1, cases=["case_00003"])
    assert store.cases == ["case_00003"]
