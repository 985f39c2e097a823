"""Fixtures that several folders of tests share."""

import kidney_lab  # isort: skip  # noqa: F401  first: its import hook must stand before anything imports torchvision

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def torch_takes_any_operator():
    """A training with `trainer.deterministic=true` leaves torch refusing some, to whatever comes later."""
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="session")
def shared_data():
    """Folder of real KiTS masks, a real CT and a real DICOM series; see CONTRIBUTING.md."""
    folder = Path(os.environ.get("KIDNEY_LAB_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no real data: set KIDNEY_LAB_SHARED_DATA to the folder that holds kits19, kits23 and ct")
    return folder


@pytest.fixture(scope="session")
def command_server():
    """A process that forks for each command: the imports of one take longer than most of what is tested."""
    server = subprocess.Popen(
        [sys.executable, ROOT / "tests" / "command_server.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    yield server
    server.stdin.close()
    server.wait()


@pytest.fixture(scope="session")
def command(command_server, tmp_path_factory):
    """Runs `python -m kidney_lab` in a process of its own and returns what it printed."""
    folder = tmp_path_factory.mktemp("printed")

    def run(*arguments, cwd, check=True):
        request = {
            "arguments": [str(item) for item in arguments],
            "cwd": str(cwd),
            "env": {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_SILENT": "true"},
            "stdout": str(folder / "stdout"),
            "stderr": str(folder / "stderr"),
        }
        print(json.dumps(request), file=command_server.stdin, flush=True)
        code = int(command_server.stdout.readline())
        said, complained = ((folder / name).read_text() for name in ("stdout", "stderr"))
        if check and code != 0:
            pytest.fail(f"{arguments} ended with {code}:\n{said}\n{complained}")
        return subprocess.CompletedProcess(arguments, code, said, complained)

    return run


@pytest.fixture(scope="session")
def kill_at():
    """Starts `python -m kidney_lab` and kills it a moment after a file appears."""

    def run(file, *arguments, cwd, seconds_after=0.3, deadline_s=240):
        process = subprocess.Popen(
            [sys.executable, "-m", "kidney_lab", *arguments],
            cwd=cwd,
            env={**os.environ, "OMP_NUM_THREADS": "1", "WANDB_SILENT": "true"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + deadline_s
            while not file.exists() and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(seconds_after)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert file.exists(), f"{arguments} ended before it wrote {file}"

    return run


@pytest.fixture(scope="session")
def smoke_run(command, tmp_path_factory):
    """Folder of a finished training on the small phantom; its working folder holds the phantom under `data`."""
    folder = tmp_path_factory.mktemp("work folder")
    command("trainer=smoke", "logger=wandb", f"hydra.run.dir={folder / 'runs' / 'a [run] x=1'}", cwd=folder)
    return folder / "runs" / "a [run] x=1"
