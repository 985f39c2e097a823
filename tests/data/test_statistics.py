import json

import numpy as np
import pytest

from kidney_lab.data.statistics import (
    IntensityStatistics,
    foreground_statistics,
    histogram_statistics,
    read_statistics,
    write_statistics,
)
from kidney_lab.data.store import Cost, Store
from kidney_lab.data.store_writer import CaseRecord, create_store, write_case
from kidney_lab.errors import InputError
from kidney_lab.geometry import grid_from_spacing

SHAPE = (6, 10, 12)
CASES = ["case_00000", "case_00001", "case_00002"]


def add(path, name, image, label) -> None:
    grid = grid_from_spacing(image.shape, (1.0, 1.0, 1.0))
    whole = tuple(slice(0, n) for n in image.shape)
    record = CaseRecord(
        image=image, label=label, grid=grid, source=grid, crop=whole, sources={"sum": int(image.sum())}, seed=0
    )
    write_case(path, name, record, lambda: Cost(0.0, 0.0))


@pytest.fixture
def store(tmp_path) -> Store:
    """Cases of different brightness and size of foreground; the last one has none."""
    create_store(tmp_path / "store", {})
    for k, name in enumerate(CASES):
        rng = np.random.default_rng(k)
        image = rng.normal(80 * k, 120, SHAPE).astype(np.int16)
        label = rng.choice(4, SHAPE, p=[0.6 - 0.2 * k, 0.2, 0.1, 0.1 + 0.2 * k]).astype(np.uint8)
        add(tmp_path / "store", name, image, label * (k < 2))
    return Store(tmp_path / "store")


def voxels(store, cases=CASES) -> np.ndarray:
    return np.concatenate([store[name].image[...][store[name].label[...] > 0] for name in cases]).astype(np.float64)


@pytest.mark.parametrize("percentiles", [(0.5, 99.5), (0, 100), (10.0, 33.3), (49.9, 50.1)])
def test_percentiles_mean_and_deviation_are_those_of_the_raw_voxels(store, percentiles):
    found = foreground_statistics(store, CASES, percentiles=percentiles)

    raw = voxels(store)
    assert (found.lower, found.upper) == pytest.approx(tuple(np.percentile(raw, percentiles)), abs=1e-9)
    assert found.mean == pytest.approx(raw.mean(), rel=1e-12)
    assert found.std == pytest.approx(raw.std(), rel=1e-12)
    assert found.n == raw.size


def test_in_a_window_mean_and_deviation_are_those_of_the_clipped_voxels(store):
    found = foreground_statistics(store, CASES, window=(-50, 100))

    clipped = voxels(store).clip(-50, 100)
    assert (found.lower, found.upper, found.n) == (-50, 100, clipped.size)
    assert found.mean == pytest.approx(clipped.mean(), rel=1e-12)
    assert found.std == pytest.approx(clipped.std(), rel=1e-12)


def test_only_the_cases_asked_for_count_in_any_order(store):
    one = foreground_statistics(store, CASES[:1], percentiles=(0.5, 99.5))
    both = foreground_statistics(store, CASES[:2], percentiles=(0.5, 99.5))

    assert one.n == voxels(store, CASES[:1]).size
    assert both == foreground_statistics(store, CASES[1::-1], percentiles=(0.5, 99.5))
    assert one != both


def test_a_few_values_by_hand():
    values, counts = np.array([-10, 0, 30], np.int16), np.array([1, 2, 1])

    found = histogram_statistics(values, counts, percentiles=(0, 75), window=None)

    # -10, 0, 0, 30: the 75th percentile is a quarter of the way from 0 to 30.
    assert found == IntensityStatistics(lower=-10, upper=7.5, mean=5, std=float(np.sqrt(225)), n=4)


def test_they_are_kept_in_the_store_and_read_from_there(store):
    found = foreground_statistics(store, CASES, percentiles=(0.5, 99.5))

    (kept,) = store.path.glob("intensities-*.json")
    said = json.loads(kept.read_text())
    assert (said["cases"], said["percentiles"], said["window"]) == (CASES, [0.5, 99.5], None)
    assert read_statistics(kept) == found
    assert store.cases == CASES

    write_statistics(kept, IntensityStatistics(1, 2, 3, 4, 5))
    assert foreground_statistics(store, CASES, percentiles=(0.5, 99.5)) == IntensityStatistics(1, 2, 3, 4, 5)


def test_other_cases_and_other_clipping_are_kept_apart(store):
    foreground_statistics(store, CASES, percentiles=(0.5, 99.5))
    foreground_statistics(store, CASES, percentiles=(1, 99))
    foreground_statistics(store, CASES, window=(-79, 304))
    foreground_statistics(store, CASES[:2], percentiles=(0.5, 99.5))

    assert len(list(store.path.glob("intensities-*.json"))) == 4


def test_a_case_that_was_made_anew_counts_anew(store):
    before = foreground_statistics(store, CASES, percentiles=(0.5, 99.5))
    add(store.path, CASES[0], np.full(SHAPE, 700, np.int16), np.ones(SHAPE, np.uint8))

    anew = Store(store.path)

    assert foreground_statistics(anew, CASES, percentiles=(0.5, 99.5)).mean == pytest.approx(voxels(anew).mean())
    assert foreground_statistics(anew, CASES, percentiles=(0.5, 99.5)) != before


@pytest.mark.parametrize("text", ["", "{", "[]", '{"lower": 1}'])
def test_a_broken_file_is_replaced(store, text):
    found = foreground_statistics(store, CASES, percentiles=(0.5, 99.5))
    (kept,) = store.path.glob("intensities-*.json")
    kept.write_text(text)

    assert read_statistics(kept) is None
    assert foreground_statistics(store, CASES, percentiles=(0.5, 99.5)) == found
    assert read_statistics(kept) == found


def test_a_store_that_cannot_be_written_gives_them_as_well(store, monkeypatch):
    def refuse(*_args, **_settings):
        raise PermissionError("read-only")

    monkeypatch.setattr("kidney_lab.data.statistics.write_text", refuse)

    assert foreground_statistics(store, CASES, percentiles=(0.5, 99.5)).n == voxels(store).size


def test_cases_without_labels_are_refused(store):
    with pytest.raises(InputError, match=r"None of the 1 training cases has labels, .*choose another intensity="):
        foreground_statistics(store, CASES[2:], percentiles=(0.5, 99.5))


def test_a_foreground_of_one_value_is_refused(store):
    add(store.path, "case_00009", np.full(SHAPE, 40, np.int16), np.ones(SHAPE, np.uint8))

    with pytest.raises(InputError, match="have the same value, 40 HU"):
        foreground_statistics(store, ["case_00009"], percentiles=(0.5, 99.5))


@pytest.mark.parametrize("settings", [{}, {"percentiles": (0, 1), "window": (0, 1)}])
def test_exactly_one_way_of_clipping_is_taken(store, settings):
    with pytest.raises(ValueError, match="Exactly one of percentiles and window"):
        foreground_statistics(store, CASES, **settings)
