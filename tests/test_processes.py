import os
import subprocess
import sys
import time
from pathlib import Path

ORPHANS = """
import os, sys, time
from pathlib import Path
from kidney_lab.processes import worker_pool

def work(_):
    (Path(sys.argv[1]) / str(os.getpid())).touch()
    time.sleep(60)

if __name__ == "__main__":
    with worker_pool(2) as pool:
        list(pool.map(work, range(4)))
"""


def test_workers_end_when_the_process_that_started_them_is_killed(tmp_path):
    (tmp_path / "orphans.py").write_text(ORPHANS)
    (tmp_path / "pids").mkdir()
    project = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": project}
    parent = subprocess.Popen([sys.executable, tmp_path / "orphans.py", tmp_path / "pids"], env=environment)
    wait_until(lambda: len(list((tmp_path / "pids").iterdir())) == 2)

    parent.kill()
    parent.wait()

    workers = [int(path.name) for path in (tmp_path / "pids").iterdir()]
    wait_until(lambda: not any(is_alive(worker) for worker in workers))


def wait_until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")  # one that waits to be collected by its new parent counts as ended
    return not (status.is_file() and status.read_text().rsplit(")", 1)[1].split()[0] == "Z")


IN_A_JOB = """
import os
from joblib import Parallel, delayed
from kidney_lab.processes import worker_pool

def job(n):
    with worker_pool(2) as pool:
        return sum(pool.map(abs, [-n, -1]))

if __name__ == "__main__":
    print(sum(Parallel(n_jobs=2)(delayed(job)(n) for n in range(3))))
"""


def test_a_job_of_joblib_may_have_workers_of_its_own(tmp_path):
    (tmp_path / "jobs.py").write_text(IN_A_JOB)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}

    result = subprocess.run([sys.executable, tmp_path / "jobs.py"], env=environment, capture_output=True, text=True)

    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["6"]
