import os
import threading
import time

import pytest

from kidney_lab.files import alone, replacing, write_text


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_when_the_block_ends_and_nothing_else_stays(tmp_path):
    path = tmp_path / "new" / "table.csv"

    with replacing(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()

    assert path.read_text() == "whole"
    assert names(path.parent) == ["table.csv"]


def test_the_temporary_name_lies_beside_the_file_and_keeps_its_suffixes(tmp_path):
    with replacing(tmp_path / "scan.nii.gz") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffixes[-2:] == [".nii", ".gz"]
        assert temporary.name != "scan.nii.gz"
        temporary.touch()


def test_a_failure_leaves_the_old_file_as_it_was(tmp_path):
    path = tmp_path / "run.json"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()

    assert path.read_text() == "old"
    assert names(tmp_path) == ["run.json"]


def test_an_old_file_is_replaced(tmp_path):
    path = tmp_path / "run.json"
    path.write_text("old and longer")

    write_text(path, "né")

    assert path.read_bytes() == "né".encode()
    assert names(tmp_path) == ["run.json"]


def test_one_at_a_time_is_alone_in_a_folder_and_leaves_nothing_there(tmp_path):
    folder = tmp_path / "shared"
    seen = []

    def enter():
        with alone(folder):
            seen.append("in")
            time.sleep(0.02)
            seen.append("out")

    threads = [threading.Thread(target=enter) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert seen == ["in", "out"] * 6
    assert names(folder) == []


def test_an_error_in_the_block_lets_the_next_one_in(tmp_path):
    with pytest.raises(ValueError, match="wrong"), alone(tmp_path):
        raise ValueError("wrong")
    with alone(tmp_path):
        assert names(tmp_path) == [".lock"]


def test_one_that_was_killed_in_the_block_keeps_nobody_out(tmp_path):
    (tmp_path / ".lock").mkdir()
    long_ago = time.time() - 100
    os.utime(tmp_path / ".lock", (long_ago, long_ago))

    with alone(tmp_path):
        pass

    assert names(tmp_path) == []
