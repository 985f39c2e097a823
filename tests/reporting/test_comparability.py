import json
import re

import pytest

from kidney_lab.errors import InputError
from kidney_lab.reporting.comparability import check_comparable, first_difference
from kidney_lab.reporting.contents import Choices, collect
from kidney_lab.reporting.runs import read_run, read_runs

KITS19 = {"name": "kits19", "synthesized": False, "split": "s", "split_hash": "a", "annotation": "majority"}


@pytest.mark.parametrize(
    ("record", "title", "words"),
    [
        ({"data": {**KITS19, "name": "kits23"}}, "the data", ("kits19", "kits23")),
        ({"data": {**KITS19, "synthesized": True}}, "the kind of images", ("real images", "synthesized images")),
        ({"data": {**KITS19, "annotation": "first"}}, "the annotation", ("majority", "first")),
        (
            {"data": {**KITS19, "scored": "validation"}},
            "the part of the split",
            ("of test cases", "of validation cases"),
        ),
        ({"data": {**KITS19, "split_hash": "b"}}, "the split", ("s (a)", "s (b)")),
        ({"data": KITS19, "metrics_version": 2}, "the version of the metrics", ("1", "2")),
    ],
)
def test_the_first_difference_is_named_with_both_runs_and_what_to_do(make_run, record, title, words):
    first, second = make_run("one", data=KITS19), make_run("two", **record)
    runs, _ = read_runs([first, make_run("same", data=KITS19), second])

    with pytest.raises(InputError) as told:
        check_comparable(runs)
    message = str(told.value)
    assert f"since they differ in {title}" in message
    for folder, own in zip((first, second), words, strict=True):
        assert re.search(rf"\({re.escape(str(folder))}\) has [^,]*{re.escape(own)}", message), message
    assert "narrow runs= (and baseline=) to one of the two kinds, or let mixed=true show both, without tests" in message
    assert "\n" not in message


def test_other_cases_are_counted_and_named(make_run):
    runs, _ = read_runs([make_run("a", dice={"c1": 0.5, "c2": 0.5}), make_run("b", dice={"c2": 0.5})])

    with pytest.raises(InputError, match=r"has 2 cases, 1 of which the other lacks \(c1\), .* has 1 case; narrow"):
        check_comparable(runs)


def test_runs_of_two_tables_are_said_to_be_so(write_row):
    other = {**KITS19, "split_hash": "b"}
    score = {"c1": {("tumor", "dice"): 0.5}}
    one, two = (
        write_row("a", "A", score, table="p/t1", data=KITS19),
        write_row("b", "B", score, table="q/t2", data=other),
    )

    with pytest.raises(InputError, match=r"s \(b\), and they are of the tables p/t1 and q/t2; narrow"):
        check_comparable([read_run(one), read_run(two)])


def test_a_method_that_predicts_fewer_regions_stands_beside_one_that_predicts_more(write_row, make_scores):
    cases = [f"case_{k:05d}" for k in range(1, 5)]
    tumor = {case: {("tumor", "dice"): 0.5} for case in cases}
    both = {case: {("tumor", "dice"): 0.5, ("kidney", "dice"): 0.5} for case in cases}
    one, two = (write_row(name, name, scores, table="p/t") for name, scores in (("A", tumor), ("B", both)))

    check_comparable([read_run(one), read_run(two), read_run(make_scores())])


@pytest.mark.parametrize(
    ("key", "values", "told"),
    [
        ("surface", ("voxel", "surfel"), "what counts as surface"),
        ("score", ("kits19", "kits23"), "the rules of the score"),
        ("references", ("/labels/a", "/labels/b"), "the references"),
        ("metrics_version", (1, 2), "the version of the metrics"),
    ],
)
def test_folders_of_scores_must_be_scored_alike(make_scores, key, values, told):
    folders = [make_scores(f"{k}") for k in range(2)]
    for folder, value in zip(folders, values, strict=True):
        (folder / "evaluation.json").write_text(json.dumps({key: value}))

    found = first_difference([read_run(folder) for folder in folders])
    assert found is not None
    assert found.fact.title.startswith(told)


def test_what_is_not_known_differs_from_nothing_but_hides_no_difference(make_run, make_scores):
    others = [make_run("a", data=KITS19), make_run("b", data={**KITS19, "name": "kits21"})]
    unknown = make_scores()
    check_comparable(read_runs([unknown, others[0]])[0])
    check_comparable([read_run(make_run("old", data={"name": "kits19"})), read_run(others[0])])

    with pytest.raises(InputError, match=r"the data: .* has kits19, .* has kits21"):
        check_comparable([read_run(path) for path in (unknown, *others)])


def test_folds_of_one_split_and_runs_without_scores_are_no_difference(make_run):
    folds = [make_run(f"{k}", data={**KITS19, "fold": k, "split_hash": f"{k}"}) for k in range(2)]
    begun = make_run("begun", dice={}, data={**KITS19, "name": "kits23"})

    assert first_difference([read_run(path) for path in (*folds, begun)]) is None


def test_a_baseline_outside_the_glob_must_be_comparable_too_unless_they_are_mixed(make_run):
    runs, base = [make_run("a", data=KITS19)], make_run("base", data={**KITS19, "synthesized": True})

    with pytest.raises(InputError, match="the kind of images"):
        collect(runs, Choices(baseline=str(base)))
    contents = collect(runs, Choices(baseline=str(base), mixed=True))
    assert contents.differences is not None
    assert contents.differences.table.empty
    assert len(contents.rows) == 4
