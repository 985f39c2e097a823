import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from kidney_lab.data import prepare
from kidney_lab.data.kits import find_cases
from kidney_lab.data.nifti import read_volume, write_volume
from kidney_lab.data.prepare import GridRecipe, prepare_image, prepare_label, prepare_store
from kidney_lab.data.store import Store
from kidney_lab.errors import InputError
from kidney_lab.geometry import Grid, Volume, grid_from_spacing, reorient

PROJECT = Path(__file__).parents[2]
SHAPE = (12, 40, 44)
SPACING = (3.0, 1.5, 1.5)
COARSE = GridRecipe(spacing=(4.0, 2.0, 2.0))


def scan(seed=0, grid=None) -> tuple[Volume, np.ndarray]:
    """A body of 40 HU with a ball of 200 HU that the label marks, in air."""
    rng = np.random.default_rng(seed)
    image = np.full(SHAPE, -1000, np.int16)
    image[:, 8:34, 6:40] = rng.normal(40, 10, (SHAPE[0], 26, 34)).astype(np.int16)
    d, h, w = np.ogrid[0 : SHAPE[0], 0 : SHAPE[1], 0 : SHAPE[2]]
    ball = ((d - 5 - seed % 2) * 3) ** 2 + ((h - 20) * 1.5) ** 2 + ((w - 18) * 1.5) ** 2 < 10**2
    image[ball] = 200
    return Volume(image, grid or grid_from_spacing(SHAPE, SPACING)), ball.astype(np.uint8)


def write_cases(root: Path, n=3) -> Path:
    for k in range(n):
        folder = root / f"case_{k:05d}"
        folder.mkdir(parents=True)
        image, label = scan(k)
        write_volume(folder / "imaging.nii.gz", image)
        write_volume(folder / "segmentation.nii.gz", Volume(label, image.grid))
    return root


def world(grid: Grid, index) -> np.ndarray:
    return (grid.affine @ [*index, 1])[:3]


def contents(store: Store):
    return {name: (store[name].image[...], store[name].label[...], store[name].foreground(1)) for name in store.cases}


def assert_same(first: Store, second: Store):
    a, b = contents(first), contents(second)
    assert a.keys() == b.keys()
    for name in a:
        for x, y in zip(a[name], b[name], strict=True):
            np.testing.assert_array_equal(x, y)


def test_the_native_grid_keeps_the_voxels_of_the_crop():
    volume, _ = scan()

    prepared = prepare_image(volume, GridRecipe())

    np.testing.assert_array_equal(prepared.array, volume.array[prepared.crop])
    assert prepared.array.dtype == np.int16
    assert not np.shares_memory(prepared.array, volume.array)
    start = [s.start for s in prepared.crop]
    assert start[1] > 0, "air in front of the body is cropped"
    np.testing.assert_allclose(world(prepared.grid, (0, 0, 0)), world(volume.grid, start))


def test_without_cropping_the_whole_volume_is_kept():
    volume, _ = scan()

    prepared = prepare_image(volume, GridRecipe(crop_to_body=False))

    np.testing.assert_array_equal(prepared.array, volume.array)
    assert prepared.grid.same_as(volume.grid, 0.0)


def test_resampled_values_are_scipys_rounded_to_whole_hu():
    volume, _ = scan()
    prepared = prepare_image(volume, COARSE)
    cropped = volume.array[prepared.crop].astype(np.float64)
    factors = [m / n for m, n in zip(prepared.array.shape, cropped.shape, strict=True)]

    expected = ndimage.zoom(cropped, factors, order=3, grid_mode=True, mode="nearest")

    assert np.abs(prepared.array - expected).max() <= 0.51


def test_the_prepared_grid_has_the_outer_corners_of_the_crop_on_an_oblique_grid():
    angle = np.deg2rad(15)
    affine = grid_from_spacing(SHAPE, SPACING).affine
    affine[:3, :3] = [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]] @ affine[:3, :3]
    affine[:3, 3] = [10, -20, 30]
    volume, _ = scan(grid=Grid(SHAPE, affine))

    prepared = prepare_image(volume, COARSE)

    low = np.array([s.start for s in prepared.crop]) - 0.5
    high = np.array([s.stop for s in prepared.crop]) - 0.5
    np.testing.assert_allclose(world(prepared.grid, (-0.5, -0.5, -0.5)), world(volume.grid, low), atol=1e-9)
    corner = np.array(prepared.grid.shape) - 0.5
    np.testing.assert_allclose(world(prepared.grid, corner), world(volume.grid, high), atol=1e-9)
    np.testing.assert_allclose(prepared.grid.spacing, COARSE.spacing, rtol=0.05)
    assert prepared.source is volume.grid


@pytest.mark.parametrize("spacing", [(3.0, 0.78, 0.78), (4.0, 2.0, 2.0), (1.0, 1.5, 3.1)])
def test_image_and_label_stay_where_they_are_in_the_patient(spacing):
    volume, label = scan()
    bright = Volume(np.where(label == 1, 1000, volume.array * 0).astype(np.int16), volume.grid)

    prepared = prepare_image(bright, GridRecipe(spacing=spacing))
    prepared_label = prepare_label(label, prepared)

    expected = world(volume.grid, ndimage.center_of_mass(label))
    of_image = world(prepared.grid, ndimage.center_of_mass(prepared.array))
    of_label = world(prepared.grid, ndimage.center_of_mass(prepared_label))
    assert prepared_label.shape == prepared.array.shape
    assert prepared_label.dtype == np.uint8
    np.testing.assert_allclose(of_image, expected, atol=0.25)  # mm: what rings beyond the border is lost
    np.testing.assert_allclose(of_label, expected, atol=0.5)


@pytest.mark.parametrize("orientation", [("R", "A", "S"), ("L", "P", "S"), ("S", "L", "A")])
def test_a_case_stored_in_another_orientation_gives_the_same_store(tmp_path, orientation):
    plain, turned = write_cases(tmp_path / "plain", 1), tmp_path / "turned" / "case_00000"
    turned.mkdir(parents=True)
    for path in (plain / "case_00000").iterdir():
        write_volume(turned / path.name, reorient(read_volume(path), orientation))

    stores = [
        prepare_store(find_cases(root), COARSE, tmp_path / root.name / "store", dataset="test", workers=1)
        for root in (plain, turned.parent)
    ]

    assert_same(*stores)


def test_values_beyond_int16_are_clipped_and_halves_go_to_the_even():
    volume = Volume(np.array([[[1e6, -1e6, 0.5, 1.5, -0.6]]], np.float32), grid_from_spacing((1, 1, 5), (1, 1, 1)))

    prepared = prepare_image(volume, GridRecipe(crop_to_body=False))

    assert prepared.array.ravel().tolist() == [32767, -32768, 0, 2, -1]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_no_numbers_are_refused(value):
    image = np.zeros((3, 4, 5), np.float32)
    image[1, 1, 1] = value

    with pytest.raises(InputError, match="NaN or infinite"):
        prepare_image(Volume(image, grid_from_spacing(image.shape, (1, 1, 1))), COARSE)


def test_a_label_of_another_shape_is_refused():
    volume, label = scan()

    with pytest.raises(InputError, match=r"shape \(11, 40, 44\), but its image \(12, 40, 44\)"):
        prepare_label(label[1:], prepare_image(volume, COARSE))


def test_keys_name_the_recipe():
    assert COARSE.key() == GridRecipe(spacing=[4, 2, 2]).key()
    recipes = [COARSE, GridRecipe(), GridRecipe(crop_to_body=False), GridRecipe((4, 2, 2), order=1)]
    recipes += [GridRecipe((4, 2, 2), antialias=True), GridRecipe((4, 2, 2), order_z=0)]
    assert len({recipe.key() for recipe in recipes}) == 6
    assert COARSE.key() == "ed957e0db69f78fae012589141e961bd07e37f70268f41b3854569398de977e5"


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.0, 1.0, 1.0), (1.0, float("nan"), 1.0), (-1.0, 1.0, 1.0)])
def test_impossible_recipes_are_refused(spacing):
    with pytest.raises(InputError, match="spacing is"):
        GridRecipe(spacing=spacing)


def test_impossible_orders_are_refused():
    with pytest.raises(InputError, match="order is 2, but may be 0"):
        GridRecipe(order=2)


def test_a_volume_thinner_than_the_spacing_keeps_one_slice():
    assert GridRecipe((10.0, 1.0, 1.0)).shape_for((1, 5, 5), (2.0, 1.0, 1.0)) == (1, 5, 5)


def test_workers_make_the_same_store_as_one_process_with_any_number_of_threads(tmp_path):
    cases = find_cases(write_cases(tmp_path / "data", 2))

    one = prepare_store(cases, COARSE, tmp_path / "one", dataset="test", workers=1)
    two = prepare_store(cases, COARSE, tmp_path / "two", dataset="test", workers=2)

    assert_same(one, two)
    assert one.path.name == two.path.name == f"test-{COARSE.key()[:12]}"


def test_cases_without_a_reference_are_prepared(tmp_path):
    root = write_cases(tmp_path / "data", 1)
    (root / "case_00000" / "segmentation.nii.gz").unlink()

    store = prepare_store(find_cases(root), COARSE, tmp_path / "store", dataset="test", workers=1)

    assert store["case_00000"].label is None


def test_thick_slices_are_resampled_across_by_an_order_of_their_own():
    rng = np.random.default_rng(0)
    hu = rng.integers(-200, 300, (9, 12, 12)).astype(np.int16)
    thick, thin = (Volume(hu, grid_from_spacing(hu.shape, (mm, 1.0, 1.0))) for mm in (5.0, 3.0))
    recipe = GridRecipe((1.0, 0.8, 0.8), crop_to_body=False, order_z=0)

    prepared = prepare.prepare_image(thick, recipe).array

    in_plane = np.stack(
        [ndimage.zoom(layer, 15 / 12, order=3, grid_mode=True, mode="nearest") for layer in hu.astype(float)]
    )
    np.testing.assert_allclose(prepared, np.repeat(in_plane, 5, axis=0), atol=0.51)  # each slice five times
    cubic = GridRecipe((1.0, 0.8, 0.8), crop_to_body=False)
    np.testing.assert_array_equal(prepare.prepare_image(thin, recipe).array, prepare.prepare_image(thin, cubic).array)
    assert not np.array_equal(prepared, prepare.prepare_image(thick, cubic).array)


def test_every_case_tells_what_it_took(tmp_path, caplog):
    cases = find_cases(write_cases(tmp_path / "data", 2))

    with caplog.at_level(logging.INFO):
        store = prepare_store(cases, COARSE, tmp_path / "store", dataset="test", workers=1)

    for name in store.cases:
        assert store[name].cost.seconds >= 0
        assert store[name].cost.peak_mib > 10
        assert f"{name}: {store[name].cost.seconds:.1f} s, peak {store[name].cost.peak_mib:.0f} MiB" in caplog.text


def test_what_a_case_needs_is_estimated_from_its_header(tmp_path):
    (case,) = find_cases(write_cases(tmp_path / "data", 1))

    native, finer = (prepare.memory_need(case, recipe) for recipe in (GridRecipe(), GridRecipe((0.1, 0.1, 0.1))))

    assert native < finer


def test_annotators_label_maps_are_prepared_beside_the_reference(tmp_path):
    root = write_cases(tmp_path / "data", 1)
    image = read_volume(root / "case_00000" / "imaging.nii.gz")
    label = read_volume(root / "case_00000" / "segmentation.nii.gz")
    for annotator in (1, 2):
        mask = (label.array > 0).astype(np.uint8)
        mask[: 8 * (annotator - 1)] = 0
        file = root / "case_00000" / "instances" / f"kidney_instance-1_annotation-{annotator}.nii.gz"
        write_volume(file, Volume(mask, label.grid))
    cases = find_cases(root, annotation="sampled")

    store = prepare_store(cases, COARSE, tmp_path / "store", dataset="test-annotators", workers=1)

    first, second = (annotation[...] for annotation in store["case_00000"].annotations)
    np.testing.assert_array_equal(first > 0, store["case_00000"].label[...] > 0)
    assert second.shape == first.shape
    assert 0 < second.sum() < (first > 0).sum()
    assert image.grid.shape == label.grid.shape


def test_a_changed_mask_of_an_annotator_makes_its_case_anew(tmp_path):
    root = write_cases(tmp_path / "data", 1)
    label = read_volume(root / "case_00000" / "segmentation.nii.gz")
    file = root / "case_00000" / "instances" / "kidney_instance-1_annotation-1.nii.gz"

    def drawn(mask):
        write_volume(file, Volume(mask.astype(np.uint8), label.grid))
        cases = find_cases(root, annotation="sampled")
        store = prepare_store(cases, GridRecipe(), tmp_path / "store", dataset="test-annotators", workers=1)
        return int(store["case_00000"].annotations[0][...].sum())

    whole = np.ones_like(label.array)
    assert drawn(label.array > 0) < drawn(whole)


def test_only_a_case_whose_files_changed_is_made_anew(tmp_path, monkeypatch):
    root = write_cases(tmp_path / "data")
    prepare_store(find_cases(root), COARSE, tmp_path / "store", dataset="test", workers=1)
    image, label = scan(7)
    write_volume(root / "case_00001" / "imaging.nii.gz", image)
    write_volume(root / "case_00001" / "segmentation.nii.gz", Volume(label, image.grid))
    made = []
    original = prepare.prepare_image
    monkeypatch.setattr(prepare, "prepare_image", lambda *args: made.append(original(*args)) or made[-1])

    store = prepare_store(find_cases(root), COARSE, tmp_path / "store", dataset="test", workers=1)

    assert len(made) == 1
    np.testing.assert_array_equal(store["case_00001"].image[...], made[0].array)


SLOW = """
import sys, time
from pathlib import Path
from kidney_lab.data import store_writer
from kidney_lab.data.kits import find_cases
from kidney_lab.data.prepare import GridRecipe, prepare_store

find = store_writer.find_foreground

def slowly(image, label, seed):  # called when the arrays are written and the case is not yet published
    time.sleep(float(sys.argv[3]))
    with (Path(sys.argv[2]) / "written").open("a") as file:
        file.write("one\\n")
    return find(image, label, seed)

store_writer.find_foreground = slowly
prepare_store(find_cases(Path(sys.argv[1])), GridRecipe((4.0, 2.0, 2.0)), Path(sys.argv[2]), dataset="test", workers=1)
"""


def start_slowly(data: Path, root: Path, delay: float) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    return subprocess.Popen([sys.executable, "-c", SLOW, data, root, str(delay)], env=environment)


def test_a_killed_run_goes_on_where_it_stopped(tmp_path):
    data = write_cases(tmp_path / "data")
    expected = prepare_store(find_cases(data), COARSE, tmp_path / "whole", dataset="test", workers=1)
    path = tmp_path / "killed" / expected.path.name
    process = start_slowly(data, tmp_path / "killed", 0.4)
    deadline = time.monotonic() + 60
    while len(list(path.glob("case_*"))) < 1 or not list(path.glob(".*/image.b2nd")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()

    done = Store(path).cases
    assert 1 <= len(done) < 3
    assert list(path.glob(".*/image.b2nd")), "the kill left a half case behind"
    before = {file: file.stat().st_mtime_ns for name in done for file in (path / name).iterdir()}

    resumed = prepare_store(find_cases(data), COARSE, tmp_path / "killed", dataset="test", workers=1)

    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert_same(resumed, expected)


def test_two_processes_may_prepare_one_store_at_once(tmp_path):
    data = write_cases(tmp_path / "data")

    processes = [start_slowly(data, tmp_path / "both", 0.1) for _ in range(2)]

    assert [process.wait(120) for process in processes] == [0, 0]
    expected = prepare_store(find_cases(data), COARSE, tmp_path / "whole", dataset="test", workers=1)
    both = Store(tmp_path / "both" / expected.path.name)
    assert_same(both, expected)
    assert sorted(entry.name for entry in both.path.iterdir()) == [".claims", *expected.cases, "store.json"]
    assert (tmp_path / "both" / "written").read_text().count("one") == len(expected.cases), "no case was made twice"


def test_a_real_scan_keeps_its_kidneys(shared_data):
    image = reorient(read_volume(shared_data / "ct" / "abdomen_3mm.nii.gz"))
    kidneys = reorient(read_volume(shared_data / "ct" / "abdomen_3mm_kidneys.nii.gz"))

    prepared = prepare_image(image, GridRecipe((3.0, 2.0, 2.0)))
    label = prepare_label(kidneys.array, prepared)

    volume_ml = np.prod(prepared.grid.spacing) * np.count_nonzero(label)
    assert volume_ml == pytest.approx(np.prod(kidneys.grid.spacing) * np.count_nonzero(kidneys.array), rel=0.02)
    inside = prepared.array[label > 0]
    assert np.median(inside) == pytest.approx(np.median(image.array[kidneys.array > 0]), abs=3)
