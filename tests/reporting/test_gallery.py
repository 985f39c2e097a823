from pathlib import Path

from kidney_lab.reporting.gallery import MAX_METHODS, Role, galleries, roles
from kidney_lab.reporting.row_groups import row_groups
from kidney_lab.reporting.runs import read_runs

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def test_runs_of_no_table_stand_together_and_cases_are_ranked_by_their_mean(make_run):
    first = make_run("a", dice={"case_00001": 0.9, "case_00002": 0.2, "case_00003": 0.5})
    second = make_run("b", dice={"case_00001": 0.1, "case_00002": 0.6, "case_00003": 0.7})
    runs, _ = read_runs([first, second])
    (gallery,) = galleries(runs, [])

    assert [shown.run.path for shown in gallery.methods] == [first, second]
    assert gallery.region == "tumor"
    assert gallery.ranked == ["case_00002", "case_00001", "case_00003"]  # means 0.4, 0.5, 0.6
    names = [run.name for run in runs]
    assert roles(gallery) == {
        "case_00002": [Role("worst"), Role("worst", names[0]), Role("median", names[1])],
        "case_00001": [Role("median"), Role("worst", names[1])],
        "case_00003": [Role("median", names[0])],
    }
    assert roles(gallery, best=True) == {
        "case_00002": [Role("worst")],
        "case_00001": [Role("median")],
        "case_00003": [Role("best")],
    }


def test_runs_on_other_cases_are_a_gallery_of_their_own(make_run):
    runs, _ = read_runs([make_run("a"), make_run("b", dice={"case_00009": 0.5})])
    assert [len(gallery.methods) for gallery in galleries(runs, [])] == [1, 1]
    assert len({gallery.id for gallery in galleries(runs, [])}) == 2


def test_a_row_is_shown_by_the_run_nearest_to_the_mean_of_its_seeds(write_row):
    values = {"a": 0.2, "b": 0.55, "c": 0.9}
    paths = [
        write_row(
            name,
            "Baseline",
            {"case_00001": {("tumor", "dice"): value}},
            table="msalds/table2",
            seed=seed,
            overrides=["+experiments=msalds/table2", f"seed={seed}"],
        )
        for seed, (name, value) in enumerate(values.items())
    ]
    runs, _ = read_runs(paths)
    (gallery,) = galleries(runs, row_groups(runs, EXPERIMENTS))
    (shown,) = gallery.methods
    assert (shown.name, shown.n_runs, shown.run.path.name) == ("Baseline", 3, "b")
    assert abs(gallery.dice.loc["case_00001", "Baseline"] - 0.55) < 1e-9


def test_cases_that_a_method_was_not_scored_on_and_methods_beyond_the_limit_are_left_out(make_run):
    paths = [make_run(f"run{index:02d}") for index in range(MAX_METHODS + 2)]
    (gallery,) = galleries(read_runs(paths)[0], [])
    assert (len(gallery.methods), gallery.n_left_out) == (MAX_METHODS, 2)
    assert gallery.ranked == ["case_00002", "case_00003", "case_00001"]  # the fourth is undefined


def test_without_scores_there_is_no_gallery(make_run):
    assert galleries(read_runs([make_run(dice={})])[0], []) == []
