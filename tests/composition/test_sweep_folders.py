import json
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import pytest

from kidney_lab.composition.sweep_folders import (
    JobFolder,
    free_numbers,
    match_folders,
    newest_sweep,
    read_folders,
    write_waiting,
)
from kidney_lab.errors import InputError


def matched(keys, folders):
    """Places of the folders that the jobs get."""
    made = [JobFolder(place, {"job": {"key": key}}) for place, key in enumerate(folders)]
    return [None if folder is None else folder.path for folder in match_folders(keys, made)]


@pytest.mark.parametrize(
    ("keys", "folders", "expected"),
    [
        (["b-1", "a-1"], ["a-1", "b-1"], [1, 0]),
        (["a-1", "a-1"], ["a-1"], [0, None]),  # the same job twice is two jobs
        (["a-2"], ["a-1"], [0]),  # its data has moved
        (["a-2", "a-1"], ["a-1"], [None, 0]),
        (["a-2", "a-3"], ["a-1"], [None, None]),  # which of the two?
        (["a-3"], ["a-1", "a-2"], [None]),
        (["a-3", "a-1"], ["a-1", "a-2"], [1, 0]),
        (["a-1"], ["b-1"], [None]),
    ],
)
def test_a_job_gets_the_folder_of_its_key_or_the_only_one_of_its_configuration(keys, folders, expected):
    assert matched(keys, folders) == expected


def test_folders_are_read_by_their_numbers_and_a_damaged_record_is_named(tmp_path):
    for name in ("10", "9", "named", "0"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps({"config_hash": "a", "status": "finished"}))
    (tmp_path / "1").mkdir()

    assert [folder.path.name for folder in read_folders(tmp_path)] == ["0", "9", "10", "named"]
    (tmp_path / "9" / "run.json").write_text('{"status": ')
    with pytest.raises(InputError, match=r"9/run\.json cannot be read \(Expecting value.*\): bring it back, or remove"):
        read_folders(tmp_path)


def test_a_record_without_a_status_was_made_by_hand_and_counts_as_finished(tmp_path):
    assert JobFolder(tmp_path, {"config_hash": "a"}).status == "finished"


def test_of_commands_that_would_start_a_job_one_does(tmp_path):
    def start(number):
        about = {"overrides": [f"seed={number}"], "job": {"key": "a-1", "row": None}, "before": "not started"}
        return write_waiting(tmp_path / "0", {}, tmp_path, about)

    with ThreadPoolExecutor(8) as commands:
        started = list(commands.map(start, range(8)))

    assert started.count(True) == 1
    record = json.loads((tmp_path / "0" / "run.json").read_text())
    assert record["overrides"] == [f"seed={started.index(True)}"]


def test_a_job_that_another_command_has_begun_since_keeps_its_record(tmp_path):
    (tmp_path / "0").mkdir()
    failed, begun = ({"status": status, "stages": {}} for status in ("failed", "running"))
    (tmp_path / "0" / "run.json").write_text(json.dumps(begun))
    about = {"overrides": [], "job": {"key": "a-1", "row": None}, "before": "failed"}

    assert not write_waiting(tmp_path / "0", failed, tmp_path, about)

    assert json.loads((tmp_path / "0" / "run.json").read_text()) == begun


def test_new_jobs_get_numbers_whose_folders_hold_nothing(tmp_path):
    for name in ("0", "1", "2", "4"):
        (tmp_path / name).mkdir()
    (tmp_path / "0" / "run.json").touch()
    (tmp_path / "2" / "notes.txt").touch()
    (tmp_path / "4" / ".0123.run.json").touch()  # a writer was killed

    assert list(islice(free_numbers(tmp_path), 4)) == [1, 3, 4, 5]


def test_a_sweep_is_where_one_was_begun(tmp_path):
    assert newest_sweep(tmp_path / "none" / "now") is None
    (tmp_path / "old").mkdir()
    (tmp_path / "no sweep").mkdir()
    (tmp_path / "old" / "multirun.yaml").touch()

    assert newest_sweep(tmp_path / "now") == tmp_path / "old"
