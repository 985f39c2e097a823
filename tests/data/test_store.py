import json
import multiprocessing
import os
import pickle
import time

import numpy as np
import pytest

from kidney_lab.data.store import CaseRecord, Store, create_store, is_current, sample_foreground, write_case
from kidney_lab.errors import InputError
from kidney_lab.geometry import grid_from_spacing

SHAPE = (20, 70, 66)


def record(*, version=0, shape=SHAPE, label=True, seed=0) -> CaseRecord:
    rng = np.random.default_rng(seed)
    label_map = np.zeros(shape, np.uint8)
    label_map[2:15, 5:50, 5:50] = 1
    label_map[4, 8, 8:11] = 2
    return CaseRecord(
        image=rng.integers(-1024, 3000, shape).astype(np.int16),
        label=label_map if label else None,
        grid=grid_from_spacing(shape, (2.0, 0.9, 0.8)),
        source=grid_from_spacing((40, 140, 132), (1.0, 0.45, 0.4)),
        crop=(slice(0, 40), slice(3, 137), slice(1, 130)),
        sources={"files": {"imaging.nii.gz": [10, version]}},
        seed=seed,
    )


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "store"
    create_store(path, {"dataset": "test"})
    write_case(path, "case_00000", record())
    write_case(path, "case_00001", record(label=False))
    return Store(path)


def test_a_case_comes_back_as_it_was_written(store):
    case, written = store["case_00000"], record()

    assert store.cases == ["case_00000", "case_00001"]
    assert case.shape == case.image.shape == case.label.shape == SHAPE
    assert case.spacing == pytest.approx((2.0, 0.9, 0.8))
    assert (case.image.dtype, case.label.dtype) == (np.int16, np.uint8)
    np.testing.assert_array_equal(case.image[...], written.image)
    np.testing.assert_array_equal(case.label[...], written.label)
    assert case.grid.same_as(written.grid, 0.0)
    assert case.source.same_as(written.source, 0.0)
    assert case.crop == written.crop


@pytest.mark.parametrize(
    "box",
    [
        (slice(3, 9), slice(10, 42), slice(0, 48)),
        (slice(19, 20), slice(None), slice(None)),
        7,
        (slice(None), 5),
        (slice(-4, None), slice(60, 70), slice(64, 66)),
        (slice(5, 5), slice(0, 3), slice(0, 3)),
    ],
)
def test_boxes_are_sliced_as_numpy_slices_them(store, box):
    image = store["case_00000"].image[box]

    assert isinstance(image, np.ndarray)
    np.testing.assert_array_equal(image, record().image[box])


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 200, 5), (130, 9, 150)])
def test_volumes_of_any_shape_are_kept(tmp_path, shape):
    create_store(tmp_path, {})
    image = np.random.default_rng(0).integers(-1024, 3000, shape).astype(np.int16)
    label = (image > 0).astype(np.uint8)
    whole = record()
    write_case(
        tmp_path,
        "case_00000",
        CaseRecord(image, label, grid_from_spacing(shape, (1, 1, 1)), whole.source, whole.crop, whole.sources, 0),
    )

    case = Store(tmp_path)["case_00000"]

    np.testing.assert_array_equal(case.image[...], image)
    np.testing.assert_array_equal(case.label[...], label)


def test_a_case_without_reference_has_no_label_and_no_foreground(store):
    case = store["case_00001"]

    assert case.label is None
    assert case.foreground(1).shape == (0, 3)


def test_foreground_coordinates_hit_their_label(store):
    case, label = store["case_00000"], record().label

    kidney = case.foreground(1)

    assert kidney.dtype == np.int32
    assert kidney.shape == (10_000, 3)
    assert len(np.unique(kidney, axis=0)) == 10_000
    assert np.all(label[tuple(kidney.T)] == 1)
    np.testing.assert_array_equal(case.foreground(2), [[4, 8, 8], [4, 8, 9], [4, 8, 10]])
    assert case.foreground(3).shape == (0, 3)


def test_foreground_is_sampled_uniformly_and_the_same_for_the_same_seed():
    label = np.zeros((40, 50, 50), np.uint8)
    label[:, :25] = 1  # 50,000 voxels

    samples = sample_foreground(label, seed=3)[1]

    np.testing.assert_array_equal(samples, sample_foreground(label, seed=3)[1])
    assert not np.array_equal(samples, sample_foreground(label, seed=4)[1])
    np.testing.assert_allclose(samples.mean(axis=0), [19.5, 12, 24.5], atol=0.5)


def test_an_empty_reference_has_no_foreground():
    assert sample_foreground(np.zeros((3, 3, 3), np.uint8), seed=0) == {}


def test_a_pickled_store_reads_on(store):
    case = store["case_00000"]
    first = case.image[3:5]

    again, case_again = pickle.loads(pickle.dumps((store, case)))

    np.testing.assert_array_equal(again["case_00000"].image[3:5], first)
    np.testing.assert_array_equal(case_again.image[3:5], first)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_reads_what_its_parent_has_open(store):
    case = store["case_00000"]
    expected = case.image[3:5].sum(dtype=np.int64)
    receiver, sender = multiprocessing.Pipe(duplex=False)

    def child():
        sender.send(int(case.image[3:5].sum(dtype=np.int64)))

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    assert receiver.poll(20)
    assert receiver.recv() == expected
    process.join(20)
    assert process.exitcode == 0


def test_writing_the_same_case_again_keeps_the_first(store):
    before = (store.path / "case_00000" / "image.b2nd").stat().st_mtime_ns

    write_case(store.path, "case_00000", record(seed=1))

    assert (store.path / "case_00000" / "image.b2nd").stat().st_mtime_ns == before


def test_a_case_made_from_other_files_is_replaced(store):
    write_case(store.path, "case_00000", record(version=1, seed=1))

    assert is_current(store.path / "case_00000", record(version=1).sources)
    assert not is_current(store.path / "case_00000", record(version=0).sources)
    np.testing.assert_array_equal(Store(store.path)["case_00000"].image[...], record(seed=1).image)
    assert sorted(entry.name for entry in store.path.iterdir()) == ["case_00000", "case_00001", "store.json"]


def test_unfinished_folders_do_not_count_and_go_after_a_day(store):
    fresh, old = store.path / ".1.case_00002", store.path / ".2.case_00003"
    for folder in (fresh, old):
        folder.mkdir()
        (folder / "case.json").write_text("{}")
    two_days_ago = time.time() - 2 * 24 * 3600
    os.utime(old, (two_days_ago, two_days_ago))

    create_store(store.path, {"dataset": "test"})

    assert store.cases == ["case_00000", "case_00001"]
    assert fresh.exists()
    assert not old.exists()


def test_an_unknown_case_is_named(store):
    with pytest.raises(InputError, match=r"case_00099 is not among the cases"):
        store["case_00099"]


def test_a_folder_that_is_no_store_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"is no store.*task=prepare"):
        Store(tmp_path)


def test_another_format_says_how_to_rebuild(store):
    (store.path / "store.json").write_text(json.dumps({"format": 99}))

    with pytest.raises(InputError, match=r"format 99.*reads format 1; remove that folder and run task=prepare again"):
        Store(store.path)
