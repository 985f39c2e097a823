import pytest

from kidney_lab.metrics.strata import strata_frame, write_strata
from kidney_lab.reporting.compared import compared
from kidney_lab.reporting.row_groups import row_groups
from kidney_lab.reporting.runs import read_runs

PHANTOM = {"name": "phantom", "synthesized": True, "split_hash": "p"}


def tumor(*dice):
    return {f"c{k}": {("tumor", "dice"): value, ("mass", "dice"): 0.5} for k, value in enumerate(dice)}


def found(paths, folder):
    runs, _ = read_runs(paths)
    return compared(runs, row_groups(runs, folder))


def test_rows_are_averaged_and_runs_of_no_table_stand_beside_them(write_row, make_run, tmp_path):
    paths = [
        write_row("0", "A", tumor(0.2), table="own/t", seed=0, data=PHANTOM),
        write_row("1", "A", tumor(0.4), table="own/t", seed=1, data=PHANTOM),
        write_row("2", "B", tumor(0.5), table="own/t", seed=0, data=PHANTOM),
        make_run("alone"),
    ]
    rows, runs = found(paths, tmp_path)

    assert [(method.name, len(method.runs)) for method in rows.methods] == [("A", 2), ("B", 1)]
    assert (rows.id, rows.title, rows.of_rows, rows.averaged) == (
        "own-t-phantom",
        "own/t on phantom (SYNTHESIZED images)",
        True,
        True,
    )
    assert rows.note == "Data: phantom (SYNTHESIZED images)"
    first = rows.methods[0].metrics
    assert first[(first["region"] == "tumor") & (first["metric"] == "dice")]["value"].tolist() == pytest.approx([0.3])
    assert [method.runs[0].path.name for method in runs.methods] == ["alone"]
    assert (runs.id, runs.title, runs.of_rows, runs.note) == ("kits19", "kits19", False, "")
    assert runs.scores == {"dice": ["kidney_and_mass", "tumor"], "surface_dice": ["kidney_and_mass", "tumor"]}


def test_runs_on_other_splits_are_apart_under_names_of_their_own(make_run, tmp_path):
    data = {"name": "kits19", "synthesized": False}
    splits = {"run": "a", "other": "b", "again": "a"}
    sets = found([make_run(name, data={**data, "split_hash": split}) for name, split in splits.items()], tmp_path)

    assert [(one.id, len(one.methods)) for one in sets] == [("kits19-0", 2), ("kits19-1", 1)]


def test_scores_of_another_tool_stand_beside_the_run_on_the_same_cases(make_run, make_scores, tmp_path):
    fewer = make_run("fewer", dice={"case_00001": 0.9}, data={"name": "kits19", "split_hash": "b"}, seed=1)
    one, other = found([make_scores("nnunet"), fewer, make_run()], tmp_path)

    assert [method.runs[0].path.name for method in one.methods] == ["fewer"]
    assert [method.runs[0].path.name for method in other.methods] == ["nnunet", "run"]  # as in the report
    assert [one.title, other.title] == ["kits19, split b", "kits19, 4 cases"]


def test_scores_alone_are_compared_with_each_other(make_scores, tmp_path):
    (found_set,) = found([make_scores("a"), make_scores("b")], tmp_path)

    assert (found_set.id, [method.name for method in found_set.methods]) == ("scores", ["a", "b"])


def test_a_region_that_a_method_lacks_has_no_dice_to_compare(write_row, tmp_path):
    without_mass = {"c0": {("tumor", "dice"): 0.5}}
    paths = [write_row("0", "A", tumor(0.2), table="own/t"), write_row("1", "B", without_mass, table="own/t")]
    (rows,) = found(paths, tmp_path)

    assert rows.scores["dice"] == ["tumor", "mass"]
    assert rows.dice_regions == ["tumor"]


def test_strata_are_those_of_the_first_run_that_has_some(write_row, tmp_path):
    paths = [write_row(str(seed), "A", tumor(0.2), table="own/t", seed=seed) for seed in (0, 1)]
    write_strata(strata_frame({"c0": {"tumor_diameter_mm": 31.0}}), paths[1])
    (rows,) = found(paths, tmp_path)

    assert rows.methods[0].strata["tumor_diameter_mm"].tolist() == [31.0]
