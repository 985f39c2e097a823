import json
from pathlib import Path

import pandas as pd

from kidney_lab.inference.cost import CaseCost
from kidney_lab.inference.cost_table import gather_costs, keep_cost, summarize_costs

CASES = ["case_00001", "case_00002", "case_00003"]


def cost(seconds, *, device_mib=None, windows=8):
    return CaseCost(seconds, peak_mib=1000 + seconds, device_mib=device_mib, windows=windows, flops=windows * 10**9)


def test_costs_of_all_processes_become_one_table(tmp_path: Path):
    for case, seconds in zip(reversed(CASES), (3.5, 1.0, 2.0), strict=True):
        keep_cost(tmp_path, case, cost(seconds))
    gather_costs(tmp_path, CASES)

    assert (tmp_path / "cost.csv").read_text().splitlines() == [
        "case,seconds,peak_mib,windows,flops",
        "case_00001,2.0,1002.0,8,8000000000",
        "case_00002,1.0,1001.0,8,8000000000",
        "case_00003,3.5,1003.5,8,8000000000",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["cost.csv"]


def test_memory_of_a_gpu_is_a_column_of_its_own(tmp_path: Path):
    keep_cost(tmp_path, CASES[0], cost(1.0, device_mib=512.5))
    gather_costs(tmp_path, CASES)

    assert pd.read_csv(tmp_path / "cost.csv")["device_mib"].tolist() == [512.5]


def test_a_resumed_test_phase_keeps_what_was_measured_before_and_the_newest_of_a_case(tmp_path: Path):
    keep_cost(tmp_path, CASES[0], cost(1.0))
    keep_cost(tmp_path, CASES[1], cost(1.0))
    gather_costs(tmp_path, CASES)
    keep_cost(tmp_path, CASES[1], cost(5.0))
    keep_cost(tmp_path, "case_00099", cost(9.0))  # of another split
    table = gather_costs(tmp_path, CASES)

    assert dict(zip(table["case"], table["seconds"], strict=True)) == {CASES[0]: 1.0, CASES[1]: 5.0}
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "cost.csv"), table.dropna(axis="columns", how="all"), check_dtype=False
    )


def test_a_file_torn_by_a_kill_is_no_case(tmp_path: Path):
    keep_cost(tmp_path, CASES[0], cost(1.0))
    (tmp_path / "costs" / ".17.case_00002.json").write_text('{"case": "case_0')

    assert gather_costs(tmp_path, CASES)["case"].tolist() == CASES[:1]


def test_a_run_that_segmented_nothing_has_no_table(tmp_path: Path):
    table = gather_costs(tmp_path, CASES)

    assert summarize_costs(table) is None
    assert not (tmp_path / "cost.csv").exists()


def test_one_case_costs_the_median_of_times_and_the_largest_of_memories(tmp_path: Path):
    for case, seconds, windows in zip(CASES, (1.0, 9.0, 2.0), (8, 27, 12), strict=True):
        keep_cost(tmp_path, case, cost(seconds, device_mib=100 * seconds, windows=windows))
    summary = summarize_costs(gather_costs(tmp_path, CASES))

    assert summary == {
        "n": 3,
        "seconds": 2.0,
        "windows": 12,
        "flops": 12e9,
        "peak_mib": 1009.0,
        "device_mib": 900.0,
    }
    assert json.dumps(summary)
