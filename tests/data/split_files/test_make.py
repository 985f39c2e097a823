import json
from collections import Counter

import numpy as np
import pytest

from kidney_lab.data.kits import in_memory
from kidney_lab.data.nifti import read_volume
from kidney_lab.data.split_files import make
from kidney_lab.data.split_files.load import FOLDER, read_split
from kidney_lab.data.splits import seeded_split
from kidney_lab.errors import InputError
from kidney_lab.metrics.strata import case_strata

TOLERANCE = 1.5
"""Cases by which a part may differ from its share of a size bin."""

PUBLIC = [*range(300), *range(400, 589)]
SHARES = np.array([0.2, 0.16, 0.16, 0.16, 0.16, 0.16])


def excess(groups, sizes, upto):
    """How far the parts are from their shares at most, in cases, per size bin and over all, among the first cases."""
    counts = np.zeros((5, 6))
    for case, group in groups.items():
        if case < upto:
            counts[
                int(np.digitize(sizes[case], (2, 4, 7), right=True)) if sizes[case] == sizes[case] else 4, group
            ] += 1
    rows = np.vstack([counts, counts.sum(axis=0)])
    return np.abs(rows - SHARES * rows.sum(axis=1, keepdims=True)).max()


@pytest.fixture(scope="module")
def made_up():
    rng = np.random.default_rng(7)
    sizes = dict(zip(PUBLIC, np.round(rng.gamma(3.0, 1.7, len(PUBLIC)), 1), strict=True))
    return {case: float("nan") if case % 61 == 17 else float(size) for case, size in sizes.items()}


@pytest.fixture
def table(made_up, tmp_path):
    lines = [f"case_{case:05d},{'' if np.isnan(size) else size}" for case, size in made_up.items()]
    path = tmp_path / "sizes.csv"
    path.write_text("\n".join(["case,radiographic_size", *lines]) + "\n")
    return path


@pytest.mark.parametrize("upto", [120, 210, 300, 589])
def test_every_edition_is_balanced_in_every_size_bin(made_up, upto):
    assert excess(make.assign_groups(made_up), made_up, upto) <= TOLERANCE


def test_the_assignment_follows_the_sizes_and_nothing_else(made_up):
    again = make.assign_groups(dict(reversed(made_up.items())))

    assert again == make.assign_groups(made_up)
    assert again != make.assign_groups({**made_up, 0: 9.0 if made_up[0] < 7 else 1.0})


def test_the_committed_split_is_balanced_on_the_real_sizes(shared_data):
    patients = json.loads((shared_data / "kits19" / "kits.json").read_text())
    sizes = {int(patient["case_id"][5:]): float(patient["radiographic_size"]) for patient in patients}
    folds = [read_split("kidney_lab").split("kits19", fold) for fold in range(5)]
    parts = [folds[0].test, *(fold.val for fold in folds)]
    groups = {int(case[5:]): k for k, part in enumerate(parts) for case in part if int(case[5:]) in sizes}

    assert len(groups) == len(sizes) == 120
    assert excess(groups, sizes, 120) <= TOLERANCE


def test_the_committed_split_is_made_of_the_clinical_table(shared_data):
    table = shared_data / "kits23" / "kits23.json"
    if not table.is_file() or len(json.loads(table.read_text())) < len(PUBLIC):
        pytest.skip("the clinical table of all 489 cases is not there: copy the challenge's kits23.json to its place")

    made = make.render(make.default_split(make.read_sizes(table)))
    assert made == (FOLDER / "kidney_lab.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(make.paper_splits()))
def test_the_committed_splits_of_the_papers_are_those_that_are_drawn(name):
    assert make.render(make.paper_splits()[name]) == (FOLDER / f"{name}.json").read_text(encoding="utf-8")


def test_the_split_of_small_tumors_is_the_seeded_one_but_for_its_test_cases():
    split = read_split("kits19_small_tumors").split("kits19")
    seeded = seeded_split([f"case_{n:05d}" for n in range(64)], n_train=40, n_val=4, n_test=20, seed=0)

    assert make.render(make.small_tumors_split()) == (FOLDER / "kits19_small_tumors.json").read_text(encoding="utf-8")
    assert split.val == seeded.val
    assert {*seeded.train} - {*split.train} == {"case_00019", "case_00023"}
    assert {*split.train} - {*seeded.train} <= {*seeded.test}


@pytest.mark.slow
def test_the_split_of_small_tumors_tests_four_cases_of_each_stratum(shared_data):
    strata = []
    for case in read_split("kits19_small_tumors").split("kits19").test:
        labels = in_memory(read_volume(shared_data / "kits19" / case / "segmentation.nii.gz"))
        measured = case_strata(labels.array, labels.grid.spacing)
        strata.append((measured["under_10_mm"], measured["under_2_cm"], measured["under_10_cm3"]))

    assert Counter(strata) == {(False, True, True): 4, (False, False, True): 4, (False, False, False): 4}


def test_the_files_are_written_and_read_back(table, made_up, tmp_path):
    make.main([str(table), str(tmp_path / "out")])

    names = {path.stem for path in (tmp_path / "out").glob("*.json")}
    assert names == {path.stem for path in FOLDER.glob("*.json")}
    split = read_split(str(tmp_path / "out" / "kidney_lab.json")).split("kits23", 2)
    groups = make.assign_groups(made_up)
    assert [int(case[5:]) for case in split.val] == sorted(case for case in PUBLIC if groups[case] == 3)
    assert [int(case[5:]) for case in split.test] == sorted(case for case in PUBLIC if groups[case] == 0)


def test_the_challenges_own_table_gives_the_same_sizes(table, made_up, tmp_path):
    rows = [
        {"case_id": f"case_{case:05d}", "radiographic_size": None if np.isnan(size) else size}
        for case, size in made_up.items()
    ]
    (tmp_path / "kits23.json").write_text(json.dumps(rows))

    of_csv, of_json = make.read_sizes(table), make.read_sizes(tmp_path / "kits23.json")
    assert [*of_csv] == [*of_json]
    np.testing.assert_array_equal([*of_csv.values()], [*of_json.values()])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("case,size\ncase_00000,2\n", "is no table of tumor sizes"),
        ("case,radiographic_size\ncase_00000,large\n", "is no table of tumor sizes"),
        ("case,radiographic_size\ncase_00000,2\n", "holds 1 cases, not the 489 of KiTS23"),
    ],
)
def test_another_table_is_refused(tmp_path, text, message):
    (tmp_path / "sizes.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        make.read_sizes(tmp_path / "sizes.csv")


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(InputError, match=r"sizes\.csv is no table of tumor sizes \(FileNotFoundError"):
        make.read_sizes(tmp_path / "sizes.csv")


def test_the_command_says_what_it_needs():
    with pytest.raises(InputError, match="Give the table of tumor sizes"):
        make.main([])
