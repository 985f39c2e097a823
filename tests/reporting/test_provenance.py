import json

import pytest

from kidney_lab.reporting.provenance import (
    comparison_warnings,
    excluded_words,
    refit_warning,
    split_words,
    unscored_warning,
    validation_warning,
)
from kidney_lab.reporting.runs import read_run, read_runs


def test_words_on_the_split_hold_what_is_known():
    assert split_words({"split": "kidney_lab", "fold": 3, "split_hash": "ab"}) == "kidney_lab, fold 3 (ab)"
    assert split_words({"split": "vnet_189_21", "fold": None, "split_hash": "ab"}) == "vnet_189_21 (ab)"
    assert split_words({"split_hash": "ab"}) == "ab"  # a run of an older version
    assert split_words({}) == "—"


def test_words_on_exclusions_name_lists_and_count_cases():
    assert excluded_words({"exclude": ["a", "b"], "excluded": ["x", "y", "z"]}) == "a, b (3 cases)"
    assert excluded_words({"exclude": ["a"], "excluded": []}) == "a (0 cases)"
    assert excluded_words({"exclude": [], "excluded": []}) == excluded_words({}) == "none"


def scored(make_run, folder, data, regions):
    run = make_run(folder, data={"name": data})
    rows = [f"case_00001,{region},dice,0.9" for region in regions]
    (run / "metrics.csv").write_text("\n".join(["case,region,metric,value", *rows]) + "\n")
    return read_run(run)


SAFE = ["kidney_and_mass", "tumor"]


@pytest.mark.parametrize(
    ("first", "second", "named"),
    [
        (
            ("kits19", [*SAFE, "kidney"]),
            ("kits23", [*SAFE, "kidney"]),
            "kits19, kits23 do not mean the same by kidney:",
        ),
        (
            ("kits21", ["mass", "cyst"]),
            ("kits23", ["mass", "cyst"]),
            "kits21, kits23 do not mean the same by cyst, mass:",
        ),
        (("kits19", SAFE), ("kits23", SAFE), None),
        (("kits19", SAFE), ("kits23", [*SAFE, "mass"]), None),  # nothing to compare the masses with
        (("kits23", ["mass"]), ("kits23", ["mass"]), None),
        (("phantom", ["mass"]), ("kits23", ["mass"]), None),
    ],
)
def test_editions_are_compared_on_what_means_the_same_alone(make_run, first, second, named):
    runs = [scored(make_run, str(k), *which) for k, which in enumerate((first, second))]
    found = [sentence for sentence in comparison_warnings(runs) if "editions" in sentence]

    assert len(found) == (named is not None)
    assert all(named in sentence and "KiTS19's kidney label contains the cysts" in sentence for sentence in found)


def test_only_runs_with_validation_scores_are_warned_of(make_run):
    runs, _ = read_runs(
        [
            make_run("a", data={"name": "kits19", "scored": "validation"}),
            make_run("b", name="other", data={"name": "x"}),
        ]
    )
    (sentence,) = validation_warning(runs)

    assert "The split of unet3d-kits19 (validation) has no test cases" in sentence
    assert "other" not in sentence
    assert validation_warning(runs[1:]) == []


def test_runs_without_scores_are_named_with_what_became_of_them(make_run):
    done, begun = make_run("done"), make_run("begun")
    for name in ("metrics.csv", "summary.json"):
        (begun / name).unlink()
    record = json.loads((begun / "run.json").read_text())
    (begun / "run.json").write_text(json.dumps({**record, "name": "begun", "status": "interrupted"}))

    (sentence,) = unscored_warning(read_runs([done, begun])[0])

    assert sentence == "Without scores yet, and in no table of them: begun (interrupted)."
    assert unscored_warning([read_run(done)]) == []


def test_scores_alone_are_said_not_to_compare_only_where_their_cases_differ(make_run, make_scores):
    runs, _ = read_runs([make_run(), make_scores()])
    assert comparison_warnings(runs) == []
    runs, _ = read_runs([make_run("other", dice={"case_00001": 0.5}), make_scores()])
    assert "not all tested on the same cases" in comparison_warnings(runs)[0]


def test_refits_that_had_nothing_to_be_fitted_to_are_named_with_their_regions(make_run):
    stages = [{"detector": {}, "refit": {"fitted": {"kidney_and_mass": True, "tumor": fitted}}} for fitted in (1, 0)]
    fitted, not_fitted = (read_run(make_run(str(k), stages=stage)) for k, stage in enumerate(stages))

    assert refit_warning([fitted, read_run(make_run("older"))]) == []
    (sentence,) = refit_warning([fitted, not_fitted])
    assert sentence.startswith(f"The refit of {not_fitted.name} (Tumor) was not fitted")
