import numpy as np
import pytest
from scipy.spatial.distance import cdist

from kidney_lab.metrics import nearest
from kidney_lab.metrics.nearest import nearest_mm

SPACINGS = [(1.0, 1.0, 1.0), (5.0, 0.7, 0.9), (0.5, 3.0, 1.1), (40.0, 0.5, 0.5)]


def by_hand(start, goal, spacing_mm):
    return cdist(np.argwhere(start) * spacing_mm, np.argwhere(goal) * spacing_mm).min(axis=1)


@pytest.mark.parametrize("spacing_mm", SPACINGS)
@pytest.mark.parametrize("density", [0.002, 0.03, 0.4])
def test_every_distance_is_that_to_the_nearest_of_all_elements(spacing_mm, density):
    start, goal = np.random.default_rng(5).random((2, 11, 25, 23)) < density
    goal[5, 5, 5] = start[0, 0, 0] = True
    np.testing.assert_allclose(nearest_mm(start, goal, spacing_mm), by_hand(start, goal, spacing_mm), atol=1e-12)


@pytest.mark.parametrize("places", [1, 30, 10**4])
@pytest.mark.parametrize("voxels_per_query", [0, 10**9], ids=["tree", "transform"])
def test_which_search_finds_an_element_does_not_matter_to_the_bit(monkeypatch, places, voxels_per_query):
    start, goal = np.random.default_rng(1).random((2, 9, 17, 16)) < 0.02
    expected = nearest_mm(start, goal, (2.5, 0.7, 0.9))
    monkeypatch.setattr(nearest, "_PLACES", places)
    monkeypatch.setattr(nearest, "_VOXELS_PER_QUERY", voxels_per_query)
    nearest._places.cache_clear()
    try:
        np.testing.assert_array_equal(nearest_mm(start, goal, (2.5, 0.7, 0.9)), expected)
    finally:
        nearest._places.cache_clear()


def test_how_the_masks_lie_in_memory_does_not_matter():
    start, goal = np.random.default_rng(2).random((2, 9, 17, 16)) < 0.02
    turned = (np.asfortranarray(mask) for mask in (start, goal))
    np.testing.assert_array_equal(nearest_mm(*turned, (2.5, 0.7, 0.9)), nearest_mm(start, goal, (2.5, 0.7, 0.9)))


def test_places_are_a_whole_ball_in_order_of_distance():
    offsets, lengths = nearest._places((5.0, 0.8, 0.8))
    assert (np.diff(lengths) >= 0).all()
    assert len(np.unique(offsets, axis=0)) == len(offsets) == pytest.approx(200, abs=40)
    assert offsets[0].tolist() in ([0, 0, 1], [0, 0, -1], [0, 1, 0], [0, -1, 0])
    grid = np.argwhere(np.ones((5, 41, 41))) - (2, 20, 20)
    inside = np.linalg.norm(grid * (5.0, 0.8, 0.8), axis=1) <= lengths[-1]
    assert inside.sum() == len(offsets) + 1  # and the element itself


def test_without_a_goal_distances_are_infinite_and_without_a_start_there_are_none():
    one, none = np.zeros((2, 3, 3, 3), bool)
    one[1, 1, 1] = True
    assert nearest_mm(one, none, (1, 1, 1)).tolist() == [np.inf]
    assert nearest_mm(none, one, (1, 1, 1)).size == 0
    assert nearest_mm(one, one, (1, 1, 1)).tolist() == [0]
