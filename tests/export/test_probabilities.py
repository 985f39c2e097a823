import numpy as np
import pytest
import torch

from kidney_lab.errors import InputError
from kidney_lab.export.probabilities import Gatherer, RegionProbabilities, read_probabilities, write_probabilities
from kidney_lab.geometry import Grid, Volume, grid_from_spacing, reorient
from kidney_lab.methods.output import RegionOutput

SHAPE = (9, 14, 12)
REGIONS = ("kidney_and_mass", "tumor")
GRID = grid_from_spacing(SHAPE, (3.0, 0.8, 0.7))


def probabilities() -> np.ndarray:
    result = np.full((2, *SHAPE), 0.002, np.float32)
    rng = np.random.default_rng(0)
    result[0, 2:7, 3:10, 1:5] = rng.uniform(0.02, 1, (5, 7, 4))
    result[1, 4:8, 5:8, 3:6] = rng.uniform(0.02, 1, (4, 3, 3))
    return result


def gather(values, slab=2) -> RegionProbabilities:
    """Slab by slab, from a box that leaves out the first slice, two rows and one column."""
    box = (slice(1, SHAPE[0]), slice(2, SHAPE[1]), slice(1, SHAPE[2]))
    gatherer = Gatherer(RegionOutput(["kidney", "tumor"], REGIONS))
    for start in range(1, SHAPE[0], slab):
        part = slice(start, min(start + slab, SHAPE[0]))
        gatherer(part, torch.from_numpy(values[:, part, box[1], box[2]]))
    return gatherer.gathered(box, GRID)


@pytest.mark.parametrize("slab", [1, 2, 5, 16])
def test_slabs_of_any_size_give_the_same_box(slab):
    gathered, expected = gather(nested(), slab), gather(nested())
    assert gathered.start == expected.start
    np.testing.assert_array_equal(gathered.values, expected.values)


def nested() -> np.ndarray:
    """An outer region is at least as probable as the one in it."""
    values = probabilities()
    values[0] = values.max(axis=0)
    return values


def test_the_box_holds_every_probability_that_counts():
    cropped = gather(nested())
    assert cropped.box == (slice(2, 8), slice(3, 10), slice(1, 6))
    assert cropped.values.dtype == np.float16
    for region, given in zip(REGIONS, nested(), strict=True):
        whole = cropped.whole(region)
        np.testing.assert_allclose(whole, np.where(given < 0.01, 0, given), rtol=1e-3)
        assert np.abs(whole - given).max() < 0.01  # the box's threshold


def test_a_file_reads_back_to_the_bit(tmp_path):
    cropped = gather(nested())
    path = tmp_path / "out" / "case_00001.npz"
    write_probabilities(path, cropped)
    again = read_probabilities(path)
    np.testing.assert_array_equal(again.values, cropped.values)
    assert (again.regions, again.start, again.grid.shape) == (REGIONS, (2, 3, 1), SHAPE)
    np.testing.assert_array_equal(again.grid.affine, GRID.affine)
    assert [file.name for file in path.parent.iterdir()] == ["case_00001.npz"]


def test_numpy_alone_reads_the_file(tmp_path):
    write_probabilities(tmp_path / "a.npz", gather(nested()))
    with np.load(tmp_path / "a.npz") as arrays:
        assert sorted(arrays.files) == ["affine", "probabilities", "regions", "shape", "start"]
        assert arrays["regions"].tolist() == list(REGIONS)


@pytest.mark.parametrize("orientation", [("R", "A", "S"), ("L", "P", "S"), ("A", "I", "R"), ("I", "P", "L")])
def test_turning_the_box_is_turning_the_scan(orientation):
    cropped = gather(nested())
    turned = cropped.reoriented(orientation)
    for region in REGIONS:
        expected = reorient(Volume(cropped.whole(region), GRID), orientation)
        np.testing.assert_array_equal(turned.whole(region), expected.array)
        assert turned.grid.same_as(expected.grid)
    np.testing.assert_array_equal(turned.reoriented(("I", "P", "L")).values, cropped.values)


def test_where_nothing_is_probable_the_box_is_empty(tmp_path):
    empty = gather(nested() * 0)
    assert empty.values.size == 0
    write_probabilities(tmp_path / "a.npz", empty)
    again = read_probabilities(tmp_path / "a.npz").reoriented(("R", "A", "S"))
    assert again.whole("tumor").shape == (12, 14, 9)
    assert not again.whole("tumor").any()


def test_an_unknown_region_is_refused_with_those_there_are():
    with pytest.raises(InputError, match=r"no probabilities of 'cyst': choose out of kidney_and_mass, tumor"):
        gather(nested()).whole("cyst")


def test_a_box_outside_the_grid_is_a_fault():
    with pytest.raises(ValueError, match="do not fit the grid"):
        RegionProbabilities(np.zeros((2, 3, 3, 3), np.float16), REGIONS, (7, 0, 0), Grid(SHAPE, np.eye(4)))


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_probabilities(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    whole = tmp_path / "whole.npz"
    write_probabilities(whole, gather(nested()))
    (tmp_path / "cut.npz").write_bytes(whole.read_bytes()[:200])
    for name in ("text", "other", "cut"):
        with pytest.raises(InputError, match=f"{name}.npz holds no probabilities of regions"):
            read_probabilities(tmp_path / f"{name}.npz")
