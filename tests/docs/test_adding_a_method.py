"""docs/adding_a_method.md does what it says."""

import json

import nibabel as nib
import numpy as np
import pytest
from omegaconf import OmegaConf


@pytest.fixture(scope="module")
def page(follow):
    page = follow("adding_a_method")
    page.run("model=mixup")
    return page


def test_the_training_is_that_of_the_page(page):
    run = page.folder / "runs" / "first"
    module = OmegaConf.load(run / "config.yaml").model.stages.segmentation.module

    assert json.loads((run / "run.json").read_text())["status"] == "finished"
    assert module["_target_"] == "my_lab.mixup.MixupSegmentation"
    assert module.mixup_alpha == 0.4
    assert module.network["_target_"] == "monai.networks.nets.SegResNet"


def test_its_test_passes(page):
    page.run("pytest")


def test_its_run_segments_where_its_code_is_trusted(page):
    page.run("task=predict")

    scan = nib.load(page.folder / "data/phantom-smoke/case_00000/imaging.nii.gz")
    label = nib.load(page.folder / "labels/case_00000.nii.gz")
    assert label.shape == scan.shape
    assert set(np.unique(label.dataobj)) <= {0, 1, 2, 3}


@pytest.mark.slow
def test_its_table_stands_beside_the_published_numbers(page):
    page.run("+experiments=my_lab/mixup")
    page.run("task=report")

    text = (page.folder / "report" / "published.md").read_text()
    table = text[text.index("## Beside the paper") :].splitlines()
    baseline = [line for line in table if line.startswith("| Vanilla 3D U-Net (phantom, SYNTHESIZED)")]
    own = [line for line in table if line.startswith("| SegResNet + mixup (phantom, SYNTHESIZED)")]
    assert [line.split(" | ")[-3] for line in baseline] == ["0.9702", "0.8176"]
    assert [line.split(" | ")[-3] for line in own] == ["\N{EM DASH}"] * 2
    assert any(line.startswith("| SegResNet + mixup minus Vanilla 3D U-Net") for line in table)
