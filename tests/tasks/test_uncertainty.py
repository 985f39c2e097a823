import math
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch

from kidney_lab.geometry import Grid, Volume, grid_from_spacing, reorient
from kidney_lab.inference.combine import LastStage
from kidney_lab.inference.ensemble import Ensemble
from kidney_lab.inference.fusion import Fused
from kidney_lab.inference.uncertainty import ENTROPY_STEP, VARIANCE_STEP
from kidney_lab.methods.output import RegionOutput
from kidney_lab.metrics.calibration import expected_calibration_error
from kidney_lab.tasks.uncertainty import gather_uncertainty, save_uncertainty, write_steps

SHAPE, SPACING = (6, 8, 10), (5.0, 1.0, 2.0)
OUTPUT = RegionOutput([], ["kidney_and_mass", "tumor"])


class Said:
    """What a member says of a scan."""

    shape, box = SHAPE, tuple(slice(0, n) for n in SHAPE)

    def __init__(self, seed, output=OUTPUT):
        self.output = output
        self.values = torch.rand((2, *SHAPE), generator=torch.Generator().manual_seed(seed))

    def slab(self, part):
        return self.values[:, part]


def image(orientation="IPL"):
    """A scan that is body all over, stored in some orientation."""
    return reorient(Volume(np.full(SHAPE, 40, np.int16), grid_from_spacing(SHAPE, SPACING)), tuple(orientation))


def saved(run, members, *, orientation="IPL", combination=None, reference=None):
    """Writes what the members say of a case; the result is kidney everywhere, and tumor in its first slice."""
    scan, labels = image(orientation), np.ones(SHAPE, np.uint8)
    labels[0] = 2
    back = reorient(Volume(labels, grid_from_spacing(SHAPE, SPACING)), tuple(orientation))
    said = Fused(members, [1.0] * len(members), OUTPUT, votes=False)
    method = SimpleNamespace(combination=combination or Ensemble(uncertainty=True))
    segmentation = SimpleNamespace(labels=Volume(back.array, scan.grid), said=said)
    reference = labels if reference is None else reference
    save_uncertainty(run, method, "case_00007", scan, segmentation, reference, ["kidney_and_mass", "mass", "tumor"])


@pytest.mark.parametrize("orientation", ["IPL", "RAS"])
def test_maps_lie_on_the_image_s_grid_and_every_reader_sees_their_values(tmp_path, orientation):
    members = [Said(seed) for seed in range(3)]

    saved(tmp_path, members, orientation=orientation)

    files = sorted(path.name for path in (tmp_path / "uncertainty").glob("*.nii.gz"))
    kinds = [f"{region}_{what}" for region in ("kidney_and_mass", "tumor") for what in ("entropy", "variance")]
    assert files == [f"case_00007_{kind}.nii.gz" for kind in kinds]  # the members know no mass
    stored = nib.load(tmp_path / "uncertainty" / "case_00007_tumor_variance.nii.gz")
    expected = np.stack([member.values[1] for member in members]).var(axis=0)
    grid = Grid(stored.shape, stored.affine)
    found = reorient(Volume(np.asarray(stored.dataobj), grid)).array
    assert stored.get_data_dtype() == np.uint8
    assert grid.same_as(image(orientation).grid)
    np.testing.assert_allclose(found, expected, atol=VARIANCE_STEP * 0.51)


def test_the_table_has_a_row_for_every_case_and_region(tmp_path):
    members = [Said(seed) for seed in range(3)]

    saved(tmp_path, members)
    gather_uncertainty(tmp_path, ["case_00009", "case_00007"])

    table = pd.read_csv(tmp_path / "uncertainty.csv").set_index("region")
    p = np.stack([member.values[1] for member in members]).astype(np.float64)
    q = p.mean(axis=0)
    entropy = -(q * np.log(q) + (1 - q) * np.log(1 - q))
    reference = np.zeros(SHAPE, bool)
    reference[0] = True
    assert list(table.index) == ["kidney_and_mass", "tumor"]
    assert set(table["case"]) == {"case_00007"}
    assert table.loc["tumor"].drop("case").to_dict() == pytest.approx(
        {
            "variance_in_region": p.var(axis=0)[0].mean(),
            "entropy_in_region": entropy[0].mean(),
            "variance_in_body": p.var(axis=0).mean(),
            "entropy_in_body": entropy.mean(),
            "uncertain_ml": (entropy > math.log(2) / 2).sum() * math.prod(SPACING) / 1000,
            "ece": expected_calibration_error(q, reference, foreground_box=True),
        },
        rel=1e-3,
    )


def test_identical_members_are_sure_of_each_other(tmp_path):
    one = Said(0)

    saved(tmp_path, [one, one, one])
    gather_uncertainty(tmp_path, ["case_00007"])

    table = pd.read_csv(tmp_path / "uncertainty.csv")
    assert (table[["variance_in_region", "variance_in_body"]] == 0).all(axis=None)
    for path in (tmp_path / "uncertainty").glob("*_variance.nii.gz"):
        assert not np.asarray(nib.load(path).dataobj).any()


@pytest.mark.parametrize("combination", [Ensemble(), LastStage()])
def test_nothing_is_written_unless_it_is_asked_for(tmp_path, combination):
    saved(tmp_path, [Said(0), Said(1)], combination=combination)
    gather_uncertainty(tmp_path, ["case_00007"])

    assert not list(tmp_path.iterdir())


def test_a_region_that_one_member_alone_knows_is_not_compared(tmp_path):
    saved(tmp_path, [Said(0), Said(1, RegionOutput([], ["kidney_and_mass"]))])
    gather_uncertainty(tmp_path, ["case_00007"])

    assert pd.read_csv(tmp_path / "uncertainty.csv")["region"].tolist() == ["kidney_and_mass"]


def test_a_region_that_the_reference_lacks_has_no_calibration(tmp_path):
    saved(tmp_path, [Said(0), Said(1)], reference=np.ones(SHAPE, np.uint8))
    gather_uncertainty(tmp_path, ["case_00007"])

    assert pd.read_csv(tmp_path / "uncertainty.csv")["ece"].isna().tolist() == [False, True]


def test_steps_are_kept_as_they_are_and_read_in_their_unit(tmp_path):
    steps = np.arange(math.prod(SHAPE), dtype=np.uint8).reshape(SHAPE)

    write_steps(tmp_path / "map.nii.gz", Volume(steps, image().grid), ENTROPY_STEP)

    stored = nib.load(tmp_path / "map.nii.gz")
    np.testing.assert_array_equal(stored.dataobj.get_unscaled(), steps)
    assert np.asarray(stored.dataobj).max() == pytest.approx(math.log(2))
