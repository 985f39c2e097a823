import json
import multiprocessing
import pickle

import numpy as np
import pytest

from kidney_lab.data.store import Cost, Store
from kidney_lab.data.store_writer import CaseRecord, create_store, write_case
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


def cost() -> Cost:
    return Cost(seconds=1.5, peak_mib=200.0)


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "store"
    create_store(path, {"dataset": "test"})
    write_case(path, "case_00000", record(), cost)
    write_case(path, "case_00001", record(label=False), cost)
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
        cost,
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


def test_a_case_knows_where_its_labels_are(store):
    case, written = store["case_00000"], record()

    np.testing.assert_array_equal(case.slices(1), np.arange(2, 15))
    np.testing.assert_array_equal(case.slices(2), [4])
    assert case.slices(3).size == 0
    assert case.foreground_box == (slice(2, 15), slice(5, 50), slice(5, 50))
    assert store["case_00001"].foreground_box is None
    values, counts = case.histogram
    np.testing.assert_array_equal(np.repeat(values, counts), np.sort(written.image[written.label > 0]))


def test_a_case_tells_what_it_took(store):
    assert store["case_00000"].cost == Cost(seconds=1.5, peak_mib=200.0)


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


def test_an_unknown_case_is_named(store):
    with pytest.raises(InputError, match=r"case_00099 is not among the cases"):
        store["case_00099"]


def test_a_folder_that_is_no_store_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"is no store.*task=prepare"):
        Store(tmp_path)


def test_another_format_says_how_to_rebuild(store):
    (store.path / "store.json").write_text(json.dumps({"format": 99}))

    with pytest.raises(InputError, match=r"format 99.*reads format 2; prepare\.rebuild=true makes it anew"):
        Store(store.path)
