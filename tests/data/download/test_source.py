from urllib.parse import urlsplit

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from kidney_lab.composition.search_path import config_folder
from kidney_lab.data.download import RemoteFile, Source
from kidney_lab.errors import InputError

HUB = "https://huggingface.co/datasets/neheller/KiTS-Challenge-Imaging/resolve/main/images"
GITHUB = "https://raw.githubusercontent.com/neheller"
EDITIONS = {
    "kits19": (210, "case_00209", f"{GITHUB}/kits19/master/data", "segmentation.nii.gz", "kits.json"),
    "kits21": (300, "case_00299", f"{GITHUB}/kits21/master/kits21/data", "aggregated_MAJ_seg.nii.gz", "kits.json"),
    "kits23": (489, "case_00588", f"{GITHUB}/kits23/main/dataset", "segmentation.nii.gz", "kits23.json"),
}


def shipped(edition):
    return instantiate(OmegaConf.load(config_folder() / "data" / "source" / f"{edition}.yaml"), _convert_="all")


@pytest.mark.parametrize("edition", EDITIONS)
def test_the_shipped_addresses_are_those_of_the_challenges(edition):
    n, last, references, label, table = EDITIONS[edition]
    source = shipped(edition)
    files = source.files(source.choose(None))

    assert source.name == edition
    assert len(files) == 1 + 2 * n
    assert files[0] == RemoteFile(f"{references}/{table}", table)
    assert files[1] == RemoteFile(f"{HUB}/case_00000.nii.gz", "case_00000/imaging.nii.gz")
    assert files[2] == RemoteFile(f"{references}/case_00000/{label}", f"case_00000/{label}")
    assert files[-2] == RemoteFile(f"{HUB}/{last}.nii.gz", f"{last}/imaging.nii.gz")


@pytest.mark.parametrize("edition", EDITIONS)
def test_every_shipped_address_is_well_formed_and_every_place_is_its_own(edition):
    source = shipped(edition)
    files = source.files(source.choose(None))
    addresses = [urlsplit(url) for url in [*(file.url for file in files), *([source.tree] if source.tree else [])]]

    assert {address.scheme for address in addresses} == {"https"}
    assert all("//" not in address.path and not address.query and not address.fragment for address in addresses)
    assert len({file.path for file in files}) == len({file.url for file in files}) == len(files)


@pytest.mark.parametrize(
    ("edition", "branch", "folder"), [("kits21", "master", "segmentations"), ("kits23", "main", "instances")]
)
def test_the_editions_with_annotators_say_where_their_masks_are(edition, branch, folder):
    source = shipped(edition)

    assert source.tree == f"https://api.github.com/repos/neheller/{edition}/git/trees/{branch}"
    assert source.instances_folder == folder
    assert shipped("kits19").tree is None


def test_label_files_are_those_that_the_dataset_looks_for():
    for edition in EDITIONS:
        data = OmegaConf.load(config_folder() / "data" / f"{edition}.yaml")
        common = OmegaConf.load(config_folder() / "data" / "common" / "kits.yaml")
        assert shipped(edition).label_file in data.get("label_files", common.label_files)


@pytest.fixture
def source():
    return Source(
        name="kits23",
        cases="0-2,7",
        images="https://host/images/",
        references="https://host/r",
        label_file="segmentation.nii.gz",
        clinical_file="kits23.json",
        instances_folder="instances",
        tree="https://host/tree",
    )


def test_a_trailing_slash_of_a_base_address_changes_nothing(source):
    assert source.files(["case_00007"])[1].url == "https://host/images/case_00007.nii.gz"


def test_a_choice_of_cases_must_be_held(source):
    assert source.choose(None) == ["case_00000", "case_00001", "case_00002", "case_00007"]
    assert source.choose("1-2") == ["case_00001", "case_00002"]
    with pytest.raises(InputError, match=r"data.cases=2-7 names case_00003, which kits23 does not .* it holds 0-2,7"):
        source.choose("2-7")


def test_masks_of_annotators_are_picked_from_a_listing(source):
    listing = [
        ("dataset/case_00001/instances/tumor_instance-1_annotation-2.nii.gz", 20),
        ("dataset/case_00001/instances/cyst_instance-12_annotation-1.nii.gz", 10),
        ("dataset/case_00001/instances/artery_instance-1_annotation-1.nii.gz", 1),
        ("dataset/case_00001/instances/.kidney_instance-1_annotation-1.suppl.nii.gz", 1),
        ("dataset/case_00001/segmentations/kidney_instance-1_annotation-1.nii.gz", 1),
        ("dataset/case_00001/segmentation.nii.gz", 1),
        ("dataset/case_00002/instances/kidney_instance-1_annotation-1.nii.gz", 1),
    ]
    stem = "case_00001/instances"

    assert source.instance_files(["case_00001"], listing) == [
        RemoteFile(f"https://host/r/{stem}/{name}", f"{stem}/{name}", size)
        for name, size in [("cyst_instance-12_annotation-1.nii.gz", 10), ("tumor_instance-1_annotation-2.nii.gz", 20)]
    ]
