import json

import pytest

pytest.importorskip("wandb_workspaces")

from kidney_lab.reporting.contents import Choices, collect
from kidney_lab.reporting.wandb_report import (
    build_report,
    build_workspace,
    description_of,
    logged_curves,
    panels_of,
    score_names,
    title_of,
)

TABLE = "msalds/table2"
SCORES = {"case_00001": {("tumor", "dice"): 0.5}, "case_00002": {("tumor", "dice"): 0.75}}


def logged(number):
    return {"wandb": {"id": f"id{number}", "entity": "lab", "project": "kidney", "offline": False, "folders": []}}


@pytest.fixture
def rows(write_row, tmp_path):
    """Contents of three runs of two rows of a table."""
    paths = [
        write_row(f"run{number}", row, SCORES, table=TABLE, **logged(number))
        for number, row in enumerate(("Baseline", "Baseline", "Baseline + MSAL"))
    ]
    return collect(paths, Choices(experiments=tmp_path / "experiments"))


@pytest.fixture
def single(make_run):
    """Contents of a run of no table."""
    return collect([make_run(**logged(0))], Choices())


def spec(built):
    """What is sent to the service."""
    return json.loads(built._to_model().spec.model_dump_json(by_alias=True, exclude_none=True))


def grids(report):
    return [block["metadata"] for block in spec(report)["blocks"] if block["type"] == "panel-grid"]


def test_a_report_chooses_its_runs_by_their_ids_and_groups_them_by_row(rows):
    report = build_report(rows, entity="lab", project="kidney")

    assert (report.entity, report.project, report.title) == ("lab", "kidney", TABLE)
    for grid in grids(report):
        (runset,) = grid["runSets"]
        (chosen,) = runset["filters"]["filters"]
        assert (chosen["key"], chosen["op"]) == ({"section": "run", "name": "name"}, "IN")
        assert chosen["value"] == ["id0", "id1", "id2"]
        assert runset["grouping"] == [{"section": "config", "name": "experiment.value.row"}]
    assert len({grid["runSets"][0]["id"] for grid in grids(report)}) == len(grids(report))


def test_a_report_begins_with_the_tables_and_shows_curves_scores_cases_and_cost(rows):
    report = build_report(rows, entity="lab", project="kidney")

    blocks = spec(report)["blocks"]
    texts = [block["content"] for block in blocks if block["type"] == "markdown-block"]
    headings = [block["children"][0]["text"] for block in blocks if block["type"] == "heading"]
    assert len(texts) == 1
    assert texts[0].startswith("# Scores of the test cases")
    assert headings == ["Learning curves", "Scores", "Cases", "Cost"]
    kinds = [[panel["viewType"] for panel in grid["panelBankSectionConfig"]["panels"]] for grid in grids(report)]
    assert [set(found) for found in kinds] == [{"Run History Line Plot"}, {"Bar Chart"}, {"Weave"}, {"Scatter Plot"}]


def test_curves_are_means_over_the_runs_of_a_row_with_their_range(rows):
    curves = panels_of(rows.runs)["Learning curves"]

    config = curves[0]._to_model().model_dump(by_alias=True)["config"]
    assert (config["xAxis"], config["metrics"]) == ("fine/epoch", ["fine/val_patch/loss"])
    assert (config["groupBy"], config["groupAgg"], config["groupArea"]) == ("experiment.value.row", "mean", "minmax")
    assert config["aggregate"] is True


def test_scores_are_bars_of_the_rows_means(rows):
    (bars,) = panels_of(rows.runs)["Scores"]

    config = bars._to_model().model_dump(by_alias=True)["config"]
    assert config["metrics"] == ["test/tumor/dice"]
    assert (config["groupBy"], config["groupAgg"]) == ("experiment.value.row", "mean")


def test_runs_of_no_table_are_not_grouped(single):
    for panel in [*panels_of(single.runs)["Learning curves"], *panels_of(single.runs)["Scores"]]:
        assert panel._to_model().config.group_by is None
    (runset,) = grids(build_report(single, entity="lab", project="kidney"))[0]["runSets"]
    assert runset["grouping"] == []


def test_a_workspace_has_the_same_panels_over_the_same_runs(rows):
    workspace = build_workspace(rows.runs, entity="lab", project="kidney")

    section = spec(workspace)["section"]
    (runset,) = section["runSets"]
    assert [part["name"] for part in section["panelBankConfig"]["sections"]] == [*panels_of(rows.runs)]
    assert runset["filters"]["filters"][0]["value"] == ["id0", "id1", "id2"]
    assert runset["grouping"] == [{"section": "config", "name": "experiment.value.row"}]
    assert runset["runFeed"]["columnPinned"]["summary:test/tumor/dice"] is True
    assert workspace.name == TABLE


def test_names_are_those_that_training_logs(single):
    assert logged_curves(single.runs) == [("fine", "val_patch/loss"), ("fine", "train/loss_epoch")]
    assert score_names(single.runs) == [
        *(
            "test/kidney_and_mass/dice",
            "test/kidney_and_mass/surface_dice",
            "test/tumor/dice",
            "test/tumor/surface_dice",
        ),
    ]


def test_several_runs_are_counted_in_the_title_and_made_up_images_told(make_run):
    data = {"name": "phantom", "split": "seeded", "synthesized": True, "split_hash": "a"}
    runs = collect([make_run(name, data=data) for name in ("a", "b")], Choices()).runs

    assert title_of(runs) == "2 runs"
    assert description_of(runs).startswith("phantom, split seeded. The images are SYNTHESIZED")
