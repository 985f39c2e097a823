import json

import numpy as np
import pytest

from kidney_lab.reporting.formatting import p_value
from kidney_lab.reporting.row_differences import between_section
from kidney_lab.reporting.row_groups import row_groups
from kidney_lab.reporting.row_results import rows_json
from kidney_lab.reporting.runs import read_runs

A = [0.1, 0.2, 0.3, 0.4, 0.5]
B = [0.2, 0.4, 0.6, 0.8, 0.95]


def test_rows_and_their_differences_are_kept_in_full_precision(write_row, tmp_path):
    paths = [
        write_row(str(k), row, {f"c{n}": {("tumor", "dice"): v} for n, v in enumerate(values)}, table="p/t", seed=k)
        for k, (row, values) in enumerate([("A", A), ("B", B), ("B", [value - 0.1 for value in B])])
    ]
    found = json.loads(rows_json(row_groups(read_runs(paths)[0], tmp_path)))
    first, second = found["rows"]

    assert (first["table"], first["data"], first["row"]) == ("p/t", "kits19", "A")
    assert (len(first["runs"]), len(second["runs"])) == (1, 2)
    (score,) = second["scores"]
    assert score["mean"] == pytest.approx(np.mean(B) - 0.05, abs=1e-15)
    assert score["median"] == pytest.approx(0.55)
    assert score["sd_of_runs"] == pytest.approx(0.1 / np.sqrt(2))
    assert first["scores"][0]["sd_of_runs"] is None
    (difference,) = found["row_differences"]
    assert (difference["row"], difference["other"], difference["n"]) == ("B", "A", 5)
    assert difference["mean"] == pytest.approx(np.mean(B) - 0.05 - np.mean(A), abs=1e-15)
    assert difference["wilcoxon_p"] == 2 / 2**5
    assert difference["interval_95"][0] < difference["mean"] < difference["interval_95"][1]


def test_differences_are_those_of_the_table_corrected_together(write_row, tmp_path):
    values = {"A": A, "B": B, "C": [0.3, 0.1, 0.5, 0.2, 0.9]}
    paths = [
        write_row(row, row, {f"c{n}": {("tumor", "dice"): v} for n, v in enumerate(own)}, table="p/t")
        for row, own in values.items()
    ]
    groups = row_groups(read_runs(paths)[0], tmp_path)
    first, second = json.loads(rows_json(groups))["row_differences"]

    assert (first["row"], second["row"]) == ("B", "C")
    # B - A: 2 / 2^5, twice that of two. C - A: ranks of 0.2, -0.1, 0.2, -0.2, 0.4 are 3, -1, 3, -3, 5, of 15: 11 and 4;
    # of the 32 signs a sum of at most 4 have none of the ranks, 1 alone, each 3 alone and each with 1: 8.
    assert (first["wilcoxon_p"], first["wilcoxon_p_holm"]) == (2 / 32, 4 / 32)
    assert (second["wilcoxon_p"], second["wilcoxon_p_holm"]) == (16 / 32, 16 / 32)
    for row, found in zip(between_section(groups[0]).rows, (first, second), strict=True):
        for name, cell in (("wilcoxon_p", row.cells[5]), ("t_p", row.cells[6])):
            assert cell == f"{p_value(found[name])} ({p_value(found[f'{name}_holm'])})"
