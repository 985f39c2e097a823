import numpy as np
import pandas as pd
import pytest

from kidney_lab.data.nifti import write_volume
from kidney_lab.errors import InputError
from kidney_lab.geometry import Volume, grid_from_spacing
from kidney_lab.metrics import parts
from kidney_lab.metrics.evaluate import evaluate_pairs, match_pairs
from kidney_lab.metrics.parts import evaluate_shard

REGIONS = ("kidney_and_mass", "tumor")
GRID = grid_from_spacing((6, 10, 10), (3.0, 1.0, 1.0))


@pytest.fixture
def pairs(tmp_path):
    """Five cases whose predictions miss more and more of the kidney."""
    for n in range(5):
        reference = np.zeros(GRID.shape, np.uint8)
        reference[1:5, 2:8, 2:8] = 1
        reference[2, 3:5, 3:5] = 2
        prediction = reference.copy()
        prediction[:, 2 : 3 + n] = 0
        write_volume(tmp_path / "references" / f"case_{n:05d}.nii.gz", Volume(reference, GRID))
        write_volume(tmp_path / "predictions" / f"case_{n:05d}.nii.gz", Volume(prediction, GRID))
    return match_pairs(tmp_path / "predictions", tmp_path / "references")


def score(pairs, shard, output):
    return evaluate_shard(pairs, shard=shard, regions=REGIONS, workers=1, output=output)


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_the_last_shard_gives_the_table_of_one_process(pairs, tmp_path, n):
    *before, whole = [score(pairs, f"{k}/{n}", tmp_path / "out") for k in range(1, n + 1)]

    assert before == [None] * (n - 1)
    pd.testing.assert_frame_equal(whole, evaluate_pairs(pairs, regions=REGIONS, workers=1))


def test_a_shard_that_is_done_is_not_scored_again(pairs, tmp_path, monkeypatch):
    score(pairs, "1/2", tmp_path / "out")
    scored = []
    original = parts.evaluate_pairs
    monkeypatch.setattr(parts, "evaluate_pairs", lambda some, **rest: scored.extend(some) or original(some, **rest))

    score(pairs, "1/2", tmp_path / "out")
    whole = score(pairs, "2/2", tmp_path / "out")

    assert scored == ["case_00001", "case_00003"]
    assert whole["case"].nunique() == 5


def test_parts_of_other_predictions_are_not_mixed_in(pairs, tmp_path):
    score(pairs, "1/2", tmp_path / "out")
    prediction = pairs["case_00000"][0]
    write_volume(prediction, Volume(np.zeros(GRID.shape, np.uint8), GRID))

    assert score(pairs, "2/2", tmp_path / "out") is None


def test_a_broken_pair_is_named_by_the_shard_that_has_it(pairs, tmp_path):
    pairs["case_00001"][0].write_bytes(b"no gzip")

    assert score(pairs, "1/2", tmp_path / "out") is None
    with pytest.raises(InputError, match="case_00001"):
        score(pairs, "2/2", tmp_path / "out")
