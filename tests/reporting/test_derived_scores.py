import json

import numpy as np
import pandas as pd
import pytest
import yaml

from kidney_lab.metrics import metrics_frame, write_metrics
from kidney_lab.metrics.strata import strata_frame, write_strata
from kidney_lab.reporting.derived_scores import network_costs, summed_cost, with_borders, with_small_tumors
from kidney_lab.reporting.formatting import MISSING
from kidney_lab.reporting.runs import read_run
from tests.reporting.published_tables import published_sections


def metrics(**tumor) -> pd.DataFrame:
    return metrics_frame({case: {("tumor", "dice"): d, ("tumor", "hd"): 9.0} for case, d in tumor.items()})


def test_dice_stands_under_what_the_border_of_the_case_is():
    strata = pd.DataFrame({"case": ["a", "b", "c"], "tumor_border": ["blurry", "crisp", None]})

    found = with_borders(metrics(a=0.4, b=0.8, c=0.6), strata)

    added = found[~found["metric"].isin(["dice", "hd"])]
    assert added[["case", "region", "metric", "value"]].to_numpy().tolist() == [
        ["a", "tumor", "dice_blurry_edges", 0.4],
        ["b", "tumor", "dice_crisp_edges", 0.8],
    ]
    assert len(found) == len(metrics(a=0, b=0, c=0)) + 2


@pytest.mark.parametrize("strata", [None, pd.DataFrame({"case": ["a"], "size": ["2-4 cm"]})])
def test_without_borders_nothing_is_added(strata):
    frame = metrics(a=0.4)

    assert with_borders(frame, strata) is frame


def test_a_stage_is_not_counted_beside_the_one_that_contains_it(make_run):
    stages = {"detector": {"flops": 30e9}, "refit": {"flops": 40e9}, "other": {"flops": 2e9}}
    run = make_run(stages=stages)
    (run / "config.yaml").write_text(yaml.safe_dump({"model": {"stages": {"refit": {"contains": "detector"}}}}))

    assert network_costs(read_run(run))["gflops"] == 21.0
    assert summed_cost(read_run(run), "flops") == 42e9
    assert np.isnan(list(network_costs(read_run(make_run("b", stages={"only": {}}))).values())).all()


def test_parameters_and_time_per_case_are_what_the_run_says(make_run):
    run = make_run(stages={"a": {"parameters": 28_402_000}, "b": {"parameters": 98_000}}, cost_per_case={"seconds": 2})

    assert network_costs(read_run(run)) == {
        "gflops": pytest.approx(np.nan, nan_ok=True),
        "parameters_in_millions": 28.5,
        "seconds_per_case": 2.0,
    }


def test_scores_of_small_tumors_stand_under_the_names_of_their_strata_and_missed_ones_are_counted():
    scores = {
        case: {("tumor", "dice"): dice, ("kidney", "dice"): 0.9, ("tumor", "lesion_sensitivity"): found}
        for case, dice, found in [("a", 0.0, 0.0), ("b", 0.6, 0.5), ("c", 0.8, 0.0), ("d", 1.0, np.nan)]
    }
    strata = pd.DataFrame(
        {
            "case": list("abcd"),
            "under_10_mm": pd.array([True, True, False, None], "boolean"),
            "under_2_cm": pd.array([True, True, True, None], "boolean"),
        }
    )

    found = with_small_tumors(metrics_frame(scores), strata)

    added = found.iloc[len(metrics_frame(scores)) :]
    assert added[["case", "region", "metric", "value"]].to_numpy().tolist() == [
        ["a", "tumor", "dice_under_10_mm", 0.0],
        ["b", "tumor", "dice_under_10_mm", 0.6],
        ["a", "tumor", "dice_under_2_cm", 0.0],
        ["b", "tumor", "dice_under_2_cm", 0.6],
        ["c", "tumor", "dice_under_2_cm", 0.8],
        ["a", "tumor", "missed_small_tumors", 1.0],
        ["b", "tumor", "missed_small_tumors", 0.0],
    ]
    pd.testing.assert_frame_equal(found.iloc[: len(metrics_frame(scores))], metrics_frame(scores))
    assert with_small_tumors(metrics_frame(scores), None).equals(metrics_frame(scores))


def test_the_table_of_a_paper_has_both_beside_its_own(make_run, tmp_path):
    scores = [("tumor", "dice_blurry_edges", "case", 0.858), ("tumor", "dice_crisp_edges", "case", 0.751)]
    scores += [(None, "gflops", None, 79.1)]
    entries = [
        {"table": "t", "row": "ERNet", "dataset": None, "region": r, "metric": m, "level": level, "value": value}
        for r, m, level, value in scores
    ]
    (tmp_path / "experiments" / "paper").mkdir(parents=True)
    (tmp_path / "experiments" / "paper" / "published.json").write_text(json.dumps(entries))
    run = make_run("run", {})
    (run / "config.yaml").write_text(yaml.safe_dump({"experiment": {"table": "paper/t", "row": "ERNet"}}))
    write_metrics(metrics(a=0.4, b=0.8, c=0.9), run)
    gradients = {"a": 10.0, "b": 20.0, "c": 30.0}  # the median, 20, is crisp
    write_strata(strata_frame({case: {"tumor_gradient_hu_per_mm": value} for case, value in gradients.items()}), run)

    (section,) = published_sections([read_run(run)], tmp_path / "experiments")

    rows = {row.cells[2]: row.cells[3:] for row in section.rows}
    assert rows["Dice, blurry borders ↑"] == ["0.400", "1", "1", "0.8580", "-0.458", "0.400"]
    assert rows["Dice, crisp borders ↑"][0] == "0.850"
    assert rows["Multiply-adds of one pass (G) ↓"] == ["206.000", "1", MISSING, "79.1000", "+126.900", MISSING]
