"""Sweeps by launchers that run their jobs in other processes; each test runs the whole command."""

import csv
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time
from importlib.util import find_spec

import pytest

pytestmark = pytest.mark.slow

TASK = """\
import time
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from kidney_lab.errors import InputError


def run(config):
    (Path(HydraConfig.get().runtime.output_dir) / "work.txt").open("a").write("begun\\n")
    if config.seed == 1 and not Path("mended").exists():
        raise ValueError("a fault")
    if config.seed == 2 and not Path("mended").exists():
        raise InputError("seed=2 is odd: take 3.")
    if config.seed == 9 and not Path("mended").exists():
        time.sleep(60)
"""
LAUNCHERS = {
    "joblib": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
    "submitit_local": ["hydra/launcher=submitit_local"],
    "ray": ["hydra/launcher=ray", "+hydra.launcher.ray.init.num_cpus=2"],
}
SRUN = """\
#!/bin/bash
while [[ $1 == -* ]]; do
    if [[ $1 == --output || $1 == --error ]]; then shift; fi
    shift
done
exec "$@"
"""
SBATCH = """\
#!{python}
import os, re, subprocess, sys
file = sys.argv[1]
text = open(file).read()
open({sent!r}, "w").write(text)
first, last = map(int, re.search(r"--array=(\\d+)-(\\d+)", text).groups())
one = dict(SLURM_JOB_NUM_NODES="1", SLURM_NTASKS="1", SLURM_NODEID="0", SLURM_PROCID="0", SLURM_LOCALID="0")
for place in range(first, last + 1):
    ids = dict(SLURM_JOB_ID=str(78 + place), SLURM_ARRAY_JOB_ID="77", SLURM_ARRAY_TASK_ID=str(place))
    quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    subprocess.Popen(["bash", file], env={{**os.environ, **one, **ids}}, start_new_session=True, **quiet)
print("Submitted batch job 77")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "toy_task.py").write_text(TASK)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]))
    return tmp_path


def table(folder):
    with (folder / "s" / "sweep.csv").open() as file:
        return [(row["job"], row["overrides"], row["status"], row["error"]) for row in csv.DictReader(file)]


EXPECTED = [
    ("0", "seed=0", "finished", ""),
    ("1", "seed=1", "failed", "ValueError: a fault"),
    ("2", "seed=2", "failed", "seed=2 is odd: take 3."),
]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_jobs_in_other_processes_survive_each_other_and_are_gone_on_with(launcher, folder, command):
    if find_spec(f"hydra_plugins.hydra_{launcher.partition('_')[0]}_launcher") is None:
        pytest.skip(f"hydra's launcher {launcher} is not installed")
    arguments = ["-m", "task._target_=toy_task.run", "hydra.sweep.dir=s", "seed=0,1,2", *LAUNCHERS[launcher]]

    first = command(*arguments, cwd=folder, check=False)
    assert first.returncode == 1
    assert table(folder) == EXPECTED
    assert "3 jobs, 1 finished, 2 failed" in first.stdout
    assert 'raise ValueError("a fault")' in (folder / "s" / "1" / "run.log").read_text()

    (folder / "mended").touch()
    again = command(*arguments, "sweep.resume=true", cwd=folder)
    assert "3 jobs, 3 finished" in again.stdout
    begun = [(folder / "s" / str(number) / "work.txt").read_text().count("begun") for number in range(3)]
    assert begun == [1, 2, 2]


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_sweep_of_processes_is_interrupted_and_gone_on_with(signal_number, folder, command):
    arguments = ["-m", "task._target_=toy_task.run", "hydra.sweep.dir=s", "seed=0,9,3", *LAUNCHERS["joblib"]]
    process = subprocess.Popen(
        [sys.executable, "-m", "kidney_lab", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not (folder / "s" / "1" / "work.txt").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal_number)
    out, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert re.search(r"[12] interrupted", out)  # a signal may reach the first job before its end
    assert "interrupted; the same command with sweep.resume=true hydra.sweep.dir=s goes on" in err
    (folder / "mended").touch()
    assert "3 jobs, 3 finished" in command(*arguments, "sweep.resume=true", cwd=folder).stdout


@pytest.fixture
def slurm(folder, monkeypatch):
    """Programs of SLURM that run its jobs on this machine; gives the file that was sent."""
    sent = folder / "sent.sh"
    programs = {
        "sbatch": SBATCH.format(python=sys.executable, sent=str(sent)),
        "srun": SRUN,
        "sacct": "#!/bin/bash\necho 'JobID|State|NodeList'\n",
    }
    (folder / "bin").mkdir()
    for name, text in programs.items():
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", os.pathsep.join([str(folder / "bin"), os.environ["PATH"]]))
    return sent


def test_a_cluster_is_sent_an_array_of_jobs_and_its_records_make_the_table(slurm, folder, command):
    cluster = ["timeout_min=600", "partition=gpu", "gpus_per_node=1", "cpus_per_task=8", "mem_gb=48"]
    cluster += ["max_num_timeout=3", "array_parallelism=2"]
    settings = [f"hydra.launcher.{setting}" for setting in cluster]
    arguments = ["-m", "task._target_=toy_task.run", "hydra.sweep.dir=s", "hydra/launcher=submitit_slurm", *settings]

    result = command(*arguments, "seed=0,1,2", cwd=folder, check=False)

    assert result.returncode == 1
    assert table(folder) == EXPECTED
    given = dict(re.findall(r"^#SBATCH --([\w-]+)=(.*)$", slurm.read_text(), flags=re.MULTILINE))
    expected = {"array": "0-2%2", "time": "600", "partition": "gpu", "gpus-per-node": "1", "cpus-per-task": "8"}
    assert given.items() >= {**expected, "mem": "48GB", "nodes": "1", "job-name": "kidney_lab"}.items()
    assert "submitit.core._submit" in slurm.read_text()
    record = json.loads((folder / "s" / "2" / "run.json").read_text())
    assert record["job"]["exit_code"] == 2
