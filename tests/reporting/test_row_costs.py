import pytest

from kidney_lab.reporting.row_costs import cost_section
from kidney_lab.reporting.row_groups import row_groups
from kidney_lab.reporting.runs import read_run

SCORE = {"c1": {("tumor", "dice"): 0.5}}
COST = {"n": 4, "windows": 27, "flops": 1.5e12, "peak_mib": 900.0, "device_mib": None}


@pytest.fixture
def costs(write_row, tmp_path):
    """The cells of the rows of one table by its titles; a run is a row's name and what `run.json` replaces."""

    def make(*runs):
        overrides = ["+experiments=p/t"]
        paths = [
            write_row(f"{k}", row, SCORE, table="p/t", overrides=[*overrides, f"seed={k}"], **record)
            for k, (row, record) in enumerate(runs)
        ]
        (group,) = row_groups([read_run(path) for path in paths], tmp_path)
        section = cost_section(group)
        return section, [dict(zip(section.header, row.cells, strict=True)) for row in section.rows]

    return make


def stage(seconds, **more):
    return {"parameters": 5_000_000, "flops": 4e9, "input_shape": [1, 1, 8, 8], "wall_time_s": seconds, **more}


def test_costs_are_means_over_the_runs_of_a_row_with_stages_summed(costs):
    first = {
        "stages": {"a": stage(10), "b": stage(20)},
        "peak_memory_mib": 1024,
        "cost_per_case": {**COST, "seconds": 2},
    }
    second = {
        "stages": {"a": stage(30), "b": stage(40)},
        "peak_memory_mib": 2048,
        "cost_per_case": {**COST, "seconds": 3},
    }
    section, (row,) = costs(("A", first), ("A", second))

    assert row == {
        "Row": "A",
        "Runs": "2",
        "Input of one pass": "1\N{MULTIPLICATION SIGN}1\N{MULTIPLICATION SIGN}8\N{MULTIPLICATION SIGN}8",
        "Parameters (M) ↓": "10.00",  # 5 + 5
        "One pass (GFLOPs) ↓": "8.000",  # 4 + 4
        "One case (TFLOPs) ↓": "1.500",
        "Training (s) ↓": "50.00",  # (10 + 20 + 30 + 40) / 2
        "Time per case (s) ↓": "2.500",
        "Peak memory (GiB) ↓": "1.500",
        "Device": "Test CPU",
    }
    assert section.id == "cost-p-t-kits19"


def test_a_column_that_no_run_fills_is_left_out_and_a_missing_number_is_a_dash(costs):
    _, rows = costs(("A", {"stages": {"a": stage(None)}}), ("B", {"stages": {"a": stage(5)}}))

    assert [row["Training (s) ↓"] for row in rows] == ["—", "5.000"]
    assert not any("per case" in title for title in rows[0])


def test_parameters_have_a_best_and_times_have_none(costs):
    other = stage(5, parameters=1_000_000)
    on_one = costs(("A", {"stages": {"a": stage(9)}}), ("B", {"stages": {"a": other}}))[0]
    place = on_one.header.index("Training (s) ↓")
    assert (1, place) not in on_one.best
    assert (1, on_one.header.index("Parameters (M) ↓")) in on_one.best
