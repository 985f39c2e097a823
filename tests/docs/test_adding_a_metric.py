"""docs/adding_a_metric.md does what it says."""

import nibabel as nib
import numpy as np
import pytest

from kidney_lab.metrics.table import read_metrics


@pytest.fixture(scope="module")
def page(follow):
    page = follow("adding_a_metric")
    maps = {"drawn": [1, 1, 1, 1, 2, 2, 2, 2], "predicted": [0, 0, 1, 1, 1, 1, 2, 2]}
    for folder, labels in maps.items():
        (page.folder / folder).mkdir()
        image = nib.Nifti1Image(np.array(labels, dtype=np.uint8).reshape(2, 2, 2), np.eye(4))
        nib.save(image, page.folder / folder / "case_00001.nii.gz")
    page.run("task=evaluate")
    return page


def test_its_test_passes(page):
    page.run("pytest")


def test_the_metric_is_a_column_by_its_own_name(page):
    scores = read_metrics(page.folder / "scores").set_index(["case", "region", "metric"])["value"]

    assert set(scores.index.get_level_values("metric")) == {"dice", "volumetric_similarity"}
    # tumor: tp 2, fn 2, and 1 - 2 / 6; kidney and mass: tp 6, fn 2, and 1 - 2 / 14
    assert scores["case_00001", "tumor", "volumetric_similarity"] == pytest.approx(2 / 3)
    assert scores["case_00001", "kidney_and_mass", "volumetric_similarity"] == pytest.approx(6 / 7)


def test_the_report_shows_it(page):
    page.run("task=report")

    shown = "".join(path.read_text() for path in (page.folder / "report").glob("*.md"))
    assert "Tumor: Volumetric similarity | 0.667" in shown
