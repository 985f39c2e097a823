import json

import numpy as np
import pytest
from scipy.stats import ttest_rel, wilcoxon

from kidney_lab.errors import InputError
from kidney_lab.metrics import metrics_frame, write_metrics
from kidney_lab.reporting.differences import choose_compared, differences, differences_section, find_run
from kidney_lab.reporting.runs import read_run, read_runs

OFFICIAL = ("dice", "surface_dice")
CASES = [f"case_{k:05d}" for k in range(12)]


@pytest.fixture
def scored(tmp_path):
    """Writes a folder of scores; values are a row per case, keyed by (region, metric)."""

    def write(name, values, cases=CASES, **evaluation):
        scores = {case: {key: row[k] for key, row in values.items()} for k, case in enumerate(cases)}
        write_metrics(metrics_frame(scores), tmp_path / name)
        if evaluation:
            (tmp_path / name / "evaluation.json").write_text(json.dumps(evaluation))
        return tmp_path / name

    return write


def dice(seed, shift=0.0, n=12):
    return np.random.default_rng(seed).uniform(0.3, 0.8, n) + shift


def test_runs_are_compared_with_the_first_as_scipy_does(scored):
    values = {name: {("tumor", "dice"): dice(0) + dice(k, 0.1) / 5} for k, name in enumerate("abc", start=1)}
    runs, _ = read_runs([scored(name, row) for name, row in values.items()])
    found = differences(runs, metrics=OFFICIAL)

    assert found.baseline == "a"
    assert list(found.table["run"]) == ["b", "c"]
    for row in found.table.to_dict("records"):
        pair = values[row["run"]]["tumor", "dice"], values["a"]["tumor", "dice"]
        assert row["difference"] == pytest.approx((pair[0] - pair[1]).mean())
        assert row["wilcoxon_p"] == pytest.approx(wilcoxon(*pair).pvalue)
        assert row["t_p"] == pytest.approx(ttest_rel(*pair).pvalue)
    smaller, larger = sorted(found.table["wilcoxon_p"])
    assert sorted(found.table["wilcoxon_p_holm"]) == pytest.approx(
        sorted([min(1, 2 * smaller), max(2 * smaller, larger)])
    )


def test_runs_on_other_cases_are_named_and_left_out(scored):
    runs, _ = read_runs(
        [
            scored("a", {("tumor", "dice"): dice(1)}),
            scored("b", {("tumor", "dice"): dice(2)}, [*CASES[:9], "x", "y", "z"]),
            scored("c", {("tumor", "dice"): dice(3)}),
        ]
    )
    found = differences(runs, metrics=OFFICIAL)

    assert list(found.table["run"]) == ["c"]
    assert found.notes == (
        "Compared on different cases: b was scored on 12, a on 12, and 9 are in both; no paired test.",
    )


def test_runs_of_other_images_splits_or_versions_are_left_out_of_the_tests(make_run):
    kits19 = {"name": "kits19", "synthesized": False, "split": "s", "split_hash": "a"}
    others = [
        ({"data": {**kits19, "synthesized": True}}, "the kind of images"),
        ({"data": {**kits19, "split_hash": "b"}}, "the split"),
        ({"data": kits19, "metrics_version": 2}, "the version of the metrics"),
    ]
    base = make_run("base", data=kits19)
    for index, (record, told) in enumerate(others):
        runs, _ = read_runs([base, make_run(f"{index}", **record)])
        found = differences(runs, metrics=OFFICIAL)

        assert found.table.empty
        assert found.notes[0].startswith(f"Not compared, since they differ in {told}: ")
        assert found.notes[0].endswith("no paired test.")


def test_editions_number_patients_alike_and_are_not_compared(make_run):
    runs, _ = read_runs([make_run(name, name=name, data={"name": name}) for name in ("kits19", "kits23")])
    found = differences(runs, metrics=OFFICIAL)

    assert found.table.empty
    assert "Compared on different data: kits23 was scored on kits23, kits19 on kits19" in found.notes[0]


@pytest.mark.parametrize(
    ("key", "own", "other"),
    [("surface", "voxel", "surfel"), ("score", "kits19", "kits23"), ("references", "/labels/a", "/labels/b")],
)
def test_runs_that_were_scored_in_different_ways_are_not_compared(scored, key, own, other):
    values = {("tumor", "dice"): dice(1), ("tumor", "surface_dice"): dice(2)}
    runs, _ = read_runs([scored("a", values, **{key: other}), scored("b", values, **{key: own})])
    found = differences(runs, metrics=OFFICIAL)

    assert found.table.empty
    assert found.notes[0].startswith(f"Scored in different ways: b with {key}={own}, a with {key}={other}; no paired")


def test_surfaces_matter_only_to_metrics_that_need_them(scored):
    values = {("tumor", "dice"): dice(1), ("tumor", "hd95_per_slice"): dice(2)}
    runs, _ = read_runs([scored("a", values, surface="surfel"), scored("b", values, surface="voxel")])

    assert list(differences(runs, metrics=OFFICIAL).table["metric"]) == ["dice"]
    assert differences(runs, metrics=["dice", "hd95_per_slice"]).table.empty


def test_the_same_references_by_another_path_and_unknown_ones_are_compared(scored, tmp_path):
    key = ("tumor", "dice")
    runs, _ = read_runs(
        [
            scored("a", {key: dice(1)}, references=str(tmp_path / "labels")),
            scored("b", {key: dice(2)}, references=str(tmp_path / "x" / ".." / "labels")),
            scored("c", {key: dice(3)}),
        ]
    )
    assert list(differences(runs, metrics=OFFICIAL).table["run"]) == ["b", "c"]


def test_a_training_run_is_compared_with_scores_of_the_challenges_surface_alone(make_run, make_scores):
    folder = make_scores()
    runs, _ = read_runs([make_run(), folder])
    assert len(differences(runs, metrics=OFFICIAL).table) == 2

    (folder / "evaluation.json").write_text('{"surface": "voxel", "score": "kits23", "references": "labels"}')
    runs, _ = read_runs([runs[0].path, folder])
    assert (
        "nnunet with surface=voxel, unet3d-kits19 with surface=surfel" in differences(runs, metrics=OFFICIAL).notes[0]
    )


def test_a_score_that_one_run_lacks_is_named_and_left_out(scored):
    both, one = ("tumor", "dice"), ("cyst", "dice")
    runs, _ = read_runs([scored("a", {both: dice(1), one: dice(2)}), scored("b", {both: dice(3)})])
    found = differences(runs, metrics=OFFICIAL)

    assert list(found.table["region"]) == ["tumor"]
    assert found.notes == ("Not scored for every case by every run, so not compared: Cyst: Dice.",)


def test_a_metric_that_should_be_zero_is_compared_by_its_size(scored):
    key = ("tumor", "rvd")
    runs, _ = read_runs([scored("a", {key: -np.full(12, 0.4)}), scored("b", {key: np.full(12, 0.1)})])
    found = differences(runs, metrics=["rvd"])

    assert found.table["difference"].tolist() == pytest.approx([-0.3])
    assert "its size" in differences_section(found, runs).rows[0].cells[0]


def test_a_number_that_judges_nothing_is_not_compared(scored):
    values = {("tumor", "lesion_count"): dice(1), ("tumor", "dice"): dice(2)}
    runs, _ = read_runs([scored("a", values), scored("b", values)])

    assert list(differences(runs, metrics=["lesion_count", "dice"]).table["metric"]) == ["dice"]


def test_one_run_or_runs_without_scores_compare_with_nothing(make_run):
    runs, _ = read_runs([make_run("a"), make_run("b", dice={})])

    assert differences(runs, metrics=OFFICIAL) is None
    with pytest.raises(InputError, match=r"baseline=.* has no scores yet"):
        differences(runs, metrics=OFFICIAL, baseline=runs[1])
    with pytest.raises(InputError, match=r"baseline=.* has nothing to be compared with: name other runs"):
        differences(runs, metrics=OFFICIAL, baseline=runs[0])


def test_a_baseline_is_found_by_name_by_folder_and_by_path(make_run, tmp_path, monkeypatch):
    runs, _ = read_runs([make_run("x/a", name="one"), make_run("x/b", name="two"), make_run("y/b", name="three")])
    monkeypatch.chdir(tmp_path)

    assert find_run(runs, "two").path == tmp_path / "x" / "b"
    assert find_run(runs, "a").name == "one"
    assert find_run(runs, "y/b").name == "three"
    assert find_run(runs, "four") is None
    with pytest.raises(InputError, match="baseline=b is the name of 2 runs: give the folder of one"):
        find_run(runs, "b")


def test_metrics_are_chosen_out_of_what_was_scored(scored):
    run = read_run(scored("a", {("tumor", "dice"): dice(1), ("tumor", "hd95"): dice(2)}))

    assert choose_compared("official", [run]) == ["dice", "surface_dice"]
    assert choose_compared("all", [run]) == ["dice", "hd95"]
    assert choose_compared("hd95", [run]) == choose_compared(["hd95"], [run]) == ["hd95"]
    with pytest.raises(InputError, match=r"no run was scored by assd; choose official, all, or out of dice, hd95"):
        choose_compared(["hd95", "assd"], [run])


def test_the_table_says_direction_unit_and_undefined_pairs(scored):
    key = ("tumor", "hd95")
    first, second = dice(1) * 10, dice(2) * 10
    first[0] = np.nan
    runs, _ = read_runs([scored("a", {key: first}), scored("b", {key: second})])
    section = differences_section(differences(runs, metrics=["hd95"]), runs)

    (row,) = section.rows
    assert row.run == "b"
    assert row.cells[0] == "Tumor: Hausdorff distance, 95th percentile (mm) ↓"
    assert row.cells[1].startswith(f"{np.nanmean(second - first):+.3f} [")
    assert row.cells[2] == "11 of 12"
    assert len(row.cells) == len(section.header)
    assert "over all 1 comparisons" in section.caption
