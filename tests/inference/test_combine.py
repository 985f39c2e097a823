import itertools

import numpy as np
import pytest

from kidney_lab.errors import InputError
from kidney_lab.inference.combine import LastStage, NestedRegions, nest
from kidney_lab.labels import REGIONS

STAGES = {"kidney_and_mass": "kidney", "mass": "mass", "tumor": "tumor"}
EVERY = np.array(list(itertools.product([False, True], repeat=3))).T  # what three networks may say of a voxel: (3, 8)


def maps(kidney, mass, tumor) -> dict[str, np.ndarray]:
    """Label maps as the stages mark them, `(1, 1, 8)`: a kidney by 1, a mass and a tumor by 2."""
    marks = {"kidney": (kidney, 1), "mass": (mass, 2), "tumor": (tumor, 2)}
    return {name: (mask * np.uint8(value))[None, None] for name, (mask, value) in marks.items()}


def combined(stages=STAGES, given=None, **settings) -> np.ndarray:
    given = maps(*EVERY) if given is None else given
    return NestedRegions(stages, **settings)({name: lambda labels=labels: labels for name, labels in given.items()})


def held(labels, region) -> np.ndarray:
    return np.isin(labels, REGIONS[region]).ravel()


def test_the_last_stage_decides_by_default_and_no_other_is_asked():
    def never():
        raise AssertionError

    last = np.ones((1, 2, 3), np.uint8)

    assert LastStage()({"coarse": never, "fine": lambda: last}) is last


def test_by_union_the_outer_regions_grow():
    labels = combined()

    kidney, mass, tumor = EVERY
    np.testing.assert_array_equal(held(labels, "tumor"), tumor)
    np.testing.assert_array_equal(held(labels, "mass"), mass | tumor)
    np.testing.assert_array_equal(held(labels, "kidney_and_mass"), kidney | mass | tumor)
    np.testing.assert_array_equal(held(labels, "cyst"), mass & ~tumor)


def test_by_intersection_what_reaches_out_is_dropped():
    labels = combined(nesting="intersection")

    kidney, mass, tumor = EVERY
    np.testing.assert_array_equal(held(labels, "kidney_and_mass"), kidney)
    np.testing.assert_array_equal(held(labels, "mass"), kidney & mass)
    np.testing.assert_array_equal(held(labels, "tumor"), kidney & mass & tumor)


@pytest.mark.parametrize("nesting", ["union", "intersection"])
@pytest.mark.parametrize("seed", range(5))
def test_whatever_the_stages_say_the_label_map_is_valid_and_nested(seed, nesting):
    rng = np.random.default_rng(seed)
    given = {name: rng.choice(np.array([0, 1, 2, 3], np.uint8), (4, 5, 6)) for name in STAGES.values()}

    labels = combined(given=given, nesting=nesting)

    assert labels.dtype == np.uint8
    assert set(np.unique(labels)) <= {0, 1, 2, 3}
    assert labels.shape == (4, 5, 6)
    sizes = [held(labels, region).sum() for region in STAGES]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("nesting", ["union", "intersection"])
def test_where_masses_are_tumors_there_is_no_cyst(nesting):
    labels = combined({**STAGES, "mass": None}, nesting=nesting)

    kidney, _, tumor = EVERY
    assert set(np.unique(labels)) == {0, 1, 2}
    expected = tumor if nesting == "union" else tumor & kidney
    np.testing.assert_array_equal(held(labels, "tumor"), expected)


def test_nothing_found_is_nothing():
    assert not combined(given=maps(*np.zeros((3, 8), bool))).any()


def test_a_later_region_does_not_bring_back_what_was_dropped_before():
    masks = [np.array([1, 0, 1], bool), np.array([0, 1, 1], bool), np.array([1, 1, 1], bool)]

    assert nest(masks, [1, 3, 2], nesting="intersection").tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    ("stages", "settings", "message"),
    [
        ({"liver": "a"}, {}, r"model\.combine\.stages=.* must name the stage of at least one region out of kidney_and"),
        ({"mass": None}, {}, "must name the stage of at least one region"),
        ({"tumor": "a", "mass": "b"}, {}, "nested"),
        (STAGES, {"nesting": "none"}, r"model\.nesting=none is unknown: choose union or intersection \(a label map"),
    ],
)
def test_settings_that_cannot_work_are_refused(stages, settings, message):
    with pytest.raises(InputError, match=message):
        NestedRegions(stages, **settings)
