import logging

import pytest

from kidney_lab.data import parallel
from kidney_lab.data.kits import Case
from kidney_lab.data.parallel import default_workers, over_cases
from kidney_lab.errors import InputError


def test_cases_are_worked_on_from_the_largest_to_the_smallest(tmp_path):
    sizes = {"case_00000": 10, "case_00001": 1000, "case_00002": 100}
    cases = []
    for case_id, size in sizes.items():
        (tmp_path / case_id).write_bytes(b"x" * size)
        cases.append(Case(case_id, tmp_path / case_id, None))

    done = [case.id for case, _ in over_cases(lambda case: case.id, cases, workers=1, title="Test")]

    assert done == ["case_00001", "case_00002", "case_00000"]


def test_progress_goes_to_the_log_where_there_is_no_terminal(tmp_path, caplog):
    cases = [Case(f"case_{n:05d}", None, None) for n in range(20)]

    with caplog.at_level(logging.INFO):
        list(over_cases(str, cases, workers=1, title="Test"))

    assert [record.getMessage() for record in caplog.records][-1] == "Test: 20 of 20 cases"
    assert len(caplog.records) == 10


def test_workers_give_the_same_results_as_one_process(tmp_path, monkeypatch):
    (tmp_path / "kidney_lab_test_worker.py").write_text(
        "import os\ndef work(case):\n    return case.id, os.environ['OPENBLAS_NUM_THREADS'], os.getpid()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from kidney_lab_test_worker import work

    cases = [Case(f"case_{n:05d}", None, None) for n in range(4)]
    results = dict(over_cases(work, cases, workers=2, title="Test", progress=False))

    assert {case: result[0] for case, result in results.items()} == {case: case.id for case in cases}
    assert {result[1] for result in results.values()} == {"1"}


def test_a_worker_that_dies_is_reported_with_the_cases_in_work(tmp_path, monkeypatch):
    (tmp_path / "kidney_lab_test_death.py").write_text(
        "import os, signal\ndef die(case):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    from kidney_lab_test_death import die

    cases = [Case(f"case_{n:05d}", None, None) for n in range(5)]
    with pytest.raises(InputError, match=r"case_00000, case_00001\. .*memory.*prepare\.workers=1"):
        list(over_cases(die, cases, workers=2, title="Test", progress=False))


def test_no_more_workers_are_started_than_memory_holds(monkeypatch, caplog):
    monkeypatch.setattr(parallel, "cores", lambda: 6)
    monkeypatch.setattr(parallel, "available_mib", lambda: 10_000.0)
    cases = [Case(f"case_{n:05d}", None, None) for n in range(4)]
    need = {case.id: 500.0 * (n + 1) for n, case in enumerate(cases)}

    assert default_workers(cases, None) == 6
    assert default_workers(cases, lambda case: need[case.id]) == 4  # 8000 MiB / 2000 MiB
    assert "4 workers instead of 6: a case needs up to 2000 MiB" in caplog.text
    assert default_workers(cases, lambda _: 50_000.0) == 1
