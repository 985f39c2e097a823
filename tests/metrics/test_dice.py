import numpy as np
import pytest

from kidney_lab.metrics.dice import dice


def cube(start: int, size: int = 2) -> np.ndarray:
    mask = np.zeros((6, 6, 6), dtype=bool)
    mask[start : start + size, :size, :size] = True
    return mask


def test_cubes_shifted_by_half_their_side_overlap_by_half():
    assert dice(cube(0), cube(1)) == 0.5  # 2 * 4 / (8 + 8)


@pytest.mark.parametrize(("prediction", "reference", "expected"), [(0, 0, 1.0), (0, 2, 0.0), (2, 0, 0.0), (2, 2, 1.0)])
def test_empty_masks_follow_the_rule_of_the_challenge(prediction: int, reference: int, expected: float):
    assert dice(cube(0, prediction), cube(0, reference)) == expected


def test_any_nonzero_value_is_foreground():
    assert dice(cube(0).astype(np.uint8) * 3, cube(0)) == 1.0
