import os
import subprocess
import sys
import time

import pytest

from kidney_lab.heartbeat import SILENCE_S, beating, is_alive, this_process

ELSEWHERE = {"host": "another machine", "pid": 1}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "run.json"
    path.touch()
    return path


def test_a_file_is_renewed_while_the_block_runs_and_no_longer(file):
    os.utime(file, (0, 0))
    with beating(file, every_s=0.01):
        deadline = time.monotonic() + 10
        while file.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert file.stat().st_mtime > 0
    os.utime(file, (0, 0))
    time.sleep(0.05)
    assert file.stat().st_mtime == 0


def test_a_file_that_is_away_for_a_moment_stops_nothing(tmp_path):
    with beating(tmp_path / "none", every_s=0.001):
        time.sleep(0.02)


def test_a_process_of_this_machine_is_gone_as_soon_as_it_has_ended(file):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    assert is_alive(this_process(), file)
    assert not is_alive({**this_process(), "pid": ended.pid}, file)


@pytest.mark.parametrize("process", [ELSEWHERE, this_process()], ids=["there", "here, under a number used again"])
@pytest.mark.parametrize(("silent_s", "alive"), [(0, True), (SILENCE_S / 2, True), (SILENCE_S + 5, False)])
def test_a_process_that_is_silent_is_gone(file, process, silent_s, alive):
    os.utime(file, (time.time() - silent_s,) * 2)

    assert is_alive({**process, "pid": os.getpid()}, file) == alive
