import errno
import pickle

import numpy as np
import pytest

from kidney_lab.data import priors as module
from kidney_lab.data.priors import Priors
from kidney_lab.errors import InputError


def labels(*boxes) -> np.ndarray:
    result = np.zeros((6, 9, 8), np.uint8)
    for value, box in enumerate(boxes, start=1):
        result[box] = value
    return result


def test_what_was_predicted_is_read_back_box_by_box(tmp_path):
    written = labels(np.s_[1:4, 2:7, 3:6], np.s_[2, 4, 4])

    Priors(tmp_path / "priors").write("case_00001", written)
    read = Priors(tmp_path / "priors")["case_00001"]

    np.testing.assert_array_equal(read.label[...], written)
    np.testing.assert_array_equal(read.label[1:3, 4:9, 0:5], written[1:3, 4:9, 0:5])
    assert read.label.dtype == np.uint8
    assert read.foreground_box == (slice(1, 4), slice(2, 7), slice(3, 6))


def test_a_case_in_which_nothing_was_found_has_no_box(tmp_path):
    priors = Priors(tmp_path)
    priors.write("case_00001", labels())

    assert priors["case_00001"].foreground_box is None
    assert not priors["case_00001"].label[...].any()


def test_cases_that_are_not_predicted_yet_are_known(tmp_path):
    priors = Priors(tmp_path / "not there yet")
    cases = ["case_00002", "case_00000", "case_00001"]
    assert priors.missing(cases) == cases

    priors.write("case_00000", labels())

    assert priors.missing(cases) == ["case_00002", "case_00001"]


def test_a_case_that_is_not_predicted_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"lacks the earlier stage's prediction of case_00007: go on .* by resume="):
        Priors(tmp_path)["case_00007"]


def test_a_prediction_that_is_there_is_kept(tmp_path):
    priors = Priors(tmp_path)
    priors.write("case_00001", labels(np.s_[0:2, 0:2, 0:2]))
    priors.write("case_00001", labels())

    assert priors["case_00001"].label[...].any()
    assert [path.name for path in tmp_path.iterdir()] == ["case_00001"]


def test_an_interrupted_write_leaves_nothing_that_counts(tmp_path, monkeypatch):
    def interrupted(path, array):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "save_label", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Priors(tmp_path).write("case_00001", labels())

    assert Priors(tmp_path).missing(["case_00001"]) == ["case_00001"]
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    def full(path, array):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "save_label", full)

    with pytest.raises(InputError, match="full"):
        Priors(tmp_path).write("case_00001", labels())


def test_they_travel_to_loading_processes(tmp_path):
    priors = Priors(tmp_path)
    priors.write("case_00001", labels(np.s_[1:4, 2:7, 3:6]))

    sent = pickle.loads(pickle.dumps(priors))

    np.testing.assert_array_equal(sent["case_00001"].label[...], priors["case_00001"].label[...])
