import math

import numpy as np
import pandas as pd
import pytest

from kidney_lab.data.nifti import read_volume
from kidney_lab.errors import InputError
from kidney_lab.export.measurements import COLUMNS, measure, measurements_frame, write_measurements
from kidney_lab.geometry import Grid, Volume, grid_from_spacing, reorient
from kidney_lab.metrics.strata import case_strata

SPACING = (4.0, 2.0, 1.0)
SHAPE = (30, 60, 180)
ORIENTATIONS = [("I", "P", "L"), ("R", "A", "S"), ("L", "P", "S"), ("P", "S", "R"), ("A", "L", "I")]


def volume() -> Volume:
    """Two kidneys, a tumor of 6 x 10 x 15 voxels in the left one, a smaller one in the right, a cyst and a speck."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[5:25, 20:40, 10:50] = 1
    labels[5:25, 20:40, 130:170] = 1
    labels[10:16, 22:32, 140:155] = 2
    labels[6:8, 22:26, 12:16] = 2
    labels[20:22, 20:24, 10:14] = 3
    labels[26, 50, 90] = 2  # 0.008 ml
    return Volume(labels, grid_from_spacing(SHAPE, SPACING))


def row(findings, region, side=None, lesion=None):
    (found,) = [f for f in findings if (f.region, f.side, f.lesion) == (region, side, lesion)]
    return found


def test_volumes_are_voxels_times_their_size():
    found = measure(volume())
    voxel_ml = 0.008
    assert row(found, "kidney_and_mass").volume_ml == pytest.approx((2 * 20 * 20 * 40 + 1) * voxel_ml)
    assert row(found, "kidney", "left").volume_ml == pytest.approx((16000 - 900) * voxel_ml)
    assert row(found, "kidney", "right").volume_ml == pytest.approx((16000 - 32 - 32) * voxel_ml)
    assert row(found, "tumor").volume_ml == pytest.approx((900 + 32 + 1) * voxel_ml)
    assert row(found, "cyst").volume_ml == pytest.approx(32 * voxel_ml)


def test_a_tumor_is_measured_from_edge_to_edge():
    tumor = row(measure(volume()), "tumor", "left", 1)
    assert tumor.volume_ml == pytest.approx(900 * 0.008)
    assert tumor.diameter_mm == pytest.approx(math.hypot(10 * 2, 15 * 1))  # its diagonal in a slice: 25 mm
    assert tumor.slice == 10
    # middle of its voxels 10..15, 22..31, 140..154: slices run down, rows to the back, columns to the left
    assert (tumor.right_mm, tumor.anterior_mm, tumor.superior_mm) == pytest.approx((-147.0, -53.0, -50.0))


def test_the_slice_is_that_of_the_largest_diameter():
    wider = volume()
    wider.array[14, 22:32, 140:160] = 2
    tumor = row(measure(wider), "tumor", "left", 1)
    assert tumor.slice == 14
    assert tumor.diameter_mm == pytest.approx(math.hypot(20, 20))


def test_tumors_are_numbered_by_size_and_specks_left_out():
    tumors = [f for f in measure(volume()) if f.lesion is not None]
    assert [(f.lesion, f.side) for f in tumors] == [(1, "left"), (2, "right")]
    assert len([f for f in measure(volume(), min_volume_ml=0) if f.lesion is not None]) == 3


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_findings_do_not_depend_on_the_orientation(orientation):
    turned = reorient(volume(), orientation)
    for here, there in zip(measure(turned), measure(volume()), strict=True):
        for name, value in vars(there).items():
            if name != "slice":
                assert getattr(here, name) == (pytest.approx(value) if isinstance(value, float) else value)
    axis = next(i for i, letter in enumerate(orientation) if letter in "IS")
    tumor = row(measure(turned), "tumor", "left", 1)
    plane = np.take(turned.array, tumor.slice, axis=axis)
    assert (plane == 2).sum() == 10 * 15  # the slice is counted on the scan's own axis


def test_sheared_axes_are_refused():
    straight = volume()
    affine = straight.grid.affine.copy()
    affine[1, 0] = 4.0 * np.tan(np.radians(20))  # its voxels would measure 0.0085 ml, not 0.008

    with pytest.raises(InputError, match=r"The label map has axes that are 20\.0 degrees off"):
        measure(Volume(straight.array, Grid(SHAPE, affine)))


def test_centres_follow_an_oblique_affine():
    straight = volume()
    angle = np.deg2rad(12)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turn[:3, 3] = (5.0, -7.0, 11.0)
    oblique = measure(Volume(straight.array, Grid(SHAPE, turn @ straight.grid.affine)))
    tumor = row(oblique, "tumor", "left", 1)
    expected = (turn @ [-147.0, -53.0, -50.0, 1.0])[:3]
    assert (tumor.right_mm, tumor.anterior_mm, tumor.superior_mm) == pytest.approx(tuple(expected))
    assert tumor.diameter_mm == pytest.approx(25.0)


def test_an_empty_map_has_no_volume_and_no_tumor():
    found = measure(Volume(np.zeros(SHAPE, np.uint8), grid_from_spacing(SHAPE, SPACING)))
    assert [(f.region, f.side, f.volume_ml) for f in found] == [
        ("kidney_and_mass", None, 0.0),
        ("kidney", "left", 0.0),
        ("kidney", "right", 0.0),
        ("tumor", None, 0.0),
        ("cyst", None, 0.0),
    ]


def test_the_table_reads_back_as_it_was_written(tmp_path):
    empty = Volume(np.zeros(SHAPE, np.uint8), grid_from_spacing(SHAPE, SPACING))
    frame = measurements_frame({"a": measure(volume()), "b": measure(empty)})
    write_measurements(tmp_path / "out" / "measurements.csv", frame)
    text = (tmp_path / "out" / "measurements.csv").read_text()
    assert text.splitlines()[0] == ",".join(COLUMNS)
    assert "a,tumor,1,left,7.2,25.0,10,-147.0,-53.0,-50.0" in text
    assert "b,kidney,,left,0.0,,,,," in text
    again = pd.read_csv(tmp_path / "out" / "measurements.csv").astype({"lesion": "Int64", "slice": "Int64"})
    pd.testing.assert_frame_equal(again, frame, check_dtype=False)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["measurements.csv"]


def test_a_table_of_no_case_has_its_header():
    assert list(measurements_frame({}).columns) == list(COLUMNS)


def test_real_masks_measure_as_their_strata(shared_data):
    """Another path to the same numbers: the table of strata that the scores are broken down by."""
    labels = read_volume(shared_data / "kits23" / "case_00030" / "segmentation.nii.gz")
    found, strata = measure(labels), case_strata(reorient(labels).array, reorient(labels).grid.spacing)
    tumors = [f for f in found if f.lesion is not None]
    assert row(found, "tumor").volume_ml == pytest.approx(strata["tumor_volume_ml"])
    assert max(f.diameter_mm for f in tumors) == pytest.approx(strata["tumor_diameter_mm"])
    assert len(tumors) == strata["tumor_count"]
