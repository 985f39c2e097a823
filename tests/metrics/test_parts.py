import dataclasses
import math
import os

import pytest

from kidney_lab.data.shards import take_shard
from kidney_lab.metrics.case_scores import Scoring
from kidney_lab.metrics.evaluate import score_files
from kidney_lab.metrics.pairs import ScoredFiles
from kidney_lab.metrics.parts import CaseResult, Parts

RESULT = CaseResult(
    {("tumor", "dice"): 0.1 + 0.2, ("tumor", "hd95"): math.nan, ("cyst", "dice"): 1.0},
    {"tumor_diameter_mm": 1 / 3, "size": None, "cyst_present": True, "tumor_count": 2, "slices": "<=1 mm"},
)


@pytest.fixture
def files(label_maps, tmp_path):
    return [
        ScoredFiles(
            f"case_{n:05d}",
            label_maps.write(tmp_path / "p" / f"{n}.nii.gz", label_maps.mask(n % 3)),
            label_maps.write(tmp_path / "r" / f"{n}.nii.gz"),
        )
        for n in range(5)
    ]


def test_results_read_back_to_the_same_bits(files, tmp_path):
    parts = Parts(tmp_path / "parts", Scoring(), strata=True)
    parts.write(files[0], RESULT)

    kept = parts.read(files[0])

    assert kept.strata == RESULT.strata
    assert list(kept.scores) == list(RESULT.scores)
    assert math.isnan(kept.scores["tumor", "hd95"])
    assert kept.scores["tumor", "dice"] == 0.1 + 0.2


@pytest.mark.parametrize("n", [1, 2, 3, 7])
@pytest.mark.parametrize("backwards", [False, True])
def test_whichever_shard_ends_last_has_the_results_of_one_process(files, tmp_path, n, backwards):
    expected = score_files(files, Scoring(), strata=True)
    gathered = []
    for k in sorted(range(1, n + 1), reverse=backwards):
        parts = Parts(tmp_path / "parts", Scoring(), strata=True)  # each job has its own
        score_files(take_shard(files, f"{k}/{n}"), Scoring(), strata=True, parts=parts)
        gathered.append(parts.gather(files))

    all_there = n - 1 if backwards else min(n, len(files)) - 1  # of seven shards two have no case
    assert gathered[:all_there] == [None] * all_there
    assert gathered[-1] == expected
    assert list(gathered[-1]) == list(expected)


def test_results_of_other_files_or_settings_do_not_count(files, label_maps, tmp_path):
    parts = Parts(tmp_path / "parts", Scoring(), strata=False)
    parts.write(files[0], RESULT)

    assert parts.read(files[0]) is not None
    assert parts.read(dataclasses.replace(files[0], prediction=None)) is None
    assert parts.read(dataclasses.replace(files[0], reference=files[1].reference)) is None
    assert Parts(tmp_path / "parts", Scoring(regions=("tumor",)), strata=False).read(files[0]) is None
    assert Parts(tmp_path / "parts", Scoring(), strata=True).read(files[0]) is None
    os.utime(files[0].prediction, ns=(0, 0))  # another file of the same size
    assert parts.read(files[0]) is None


def test_a_damaged_result_counts_as_none(files, tmp_path):
    parts = Parts(tmp_path / "parts", Scoring(), strata=False)
    for text in ("", "[]", '{"made_from": 1}', "{"):
        parts.folder.mkdir(exist_ok=True)
        (parts.folder / "case_00000.json").write_text(text)
        assert parts.read(files[0]) is None


def test_the_folder_goes_with_the_last_result(files, tmp_path):
    parts = Parts(tmp_path / "parts", Scoring(), strata=False)
    for case in files[:3]:
        parts.write(case, RESULT)

    parts.discard(["case_00000", "case_00001", "case_00004"])
    assert [path.name for path in parts.folder.iterdir()] == ["case_00002.json"]
    parts.discard(["case_00002"])
    assert not parts.folder.exists()
