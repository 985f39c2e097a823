import json
from itertools import islice

import pytest

from kidney_lab.composition.sweep_folders import JobFolder, free_numbers, match_folders, newest_sweep, read_folders
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
