import itertools

import numpy as np
import pytest
import torch

from kidney_lab.errors import InputError
from kidney_lab.inference.combine import LastStage, NestedRegions
from kidney_lab.inference.slabs import label_map
from kidney_lab.labels import REGIONS
from kidney_lab.methods.output import LabelOutput, RegionOutput

STAGES = {"kidney_and_mass": "kidney", "mass": "mass", "tumor": "tumor"}
REGION_OF = {stage: region for region, stage in STAGES.items()}
EVERY = np.array(list(itertools.product([False, True], repeat=3))).T  # what three networks may say of a voxel: (3, 8)


@pytest.fixture
def combined(said):
    """The label map of what three stages say, each of its region alone; they are sure, or as probable as given."""

    def make(stages=STAGES, given=None, **settings) -> np.ndarray:
        values = dict(zip(STAGES.values(), EVERY, strict=True)) if given is None else given
        members = {
            name: said(np.asarray(value, float).reshape(1, 1, 1, -1), RegionOutput(["kidney"], [REGION_OF[name]]))
            for name, value in values.items()
        }
        combination = NestedRegions(stages, **settings)
        combination.check(list(members))
        return label_map(combination(members))

    return make


def held(labels, region) -> np.ndarray:
    return np.isin(labels, REGIONS[region]).ravel()


def test_the_last_stage_decides_by_default_and_no_other_is_asked(said):
    output = RegionOutput(["kidney"], ["kidney_and_mass"])
    members = {"coarse": None, "fine": said(np.ones((1, 1, 2, 3)), output)}

    assert LastStage()(members) is members["fine"]
    assert LastStage().asks(list(members)) == ["fine"]
    assert LastStage().output({"coarse": None, "fine": output}) is output


def test_a_method_without_a_stage_is_refused():
    with pytest.raises(InputError, match=r"None of the stages of model\.stages is enabled: enable one"):
        LastStage().check([])


def test_by_union_the_outer_regions_grow(combined):
    labels = combined()

    kidney, mass, tumor = EVERY
    np.testing.assert_array_equal(held(labels, "tumor"), tumor)
    np.testing.assert_array_equal(held(labels, "mass"), mass | tumor)
    np.testing.assert_array_equal(held(labels, "kidney_and_mass"), kidney | mass | tumor)
    np.testing.assert_array_equal(held(labels, "cyst"), mass & ~tumor)


def test_by_intersection_what_reaches_out_is_dropped(combined):
    labels = combined(nesting="intersection")

    kidney, mass, tumor = EVERY
    np.testing.assert_array_equal(held(labels, "kidney_and_mass"), kidney)
    np.testing.assert_array_equal(held(labels, "mass"), kidney & mass)
    np.testing.assert_array_equal(held(labels, "tumor"), kidney & mass & tumor)


@pytest.mark.parametrize("nesting", ["union", "intersection"])
@pytest.mark.parametrize("seed", range(5))
def test_whatever_the_stages_say_the_regions_lie_in_each_other(combined, seed, nesting):
    rng = np.random.default_rng(seed)
    given = {name: rng.random(120) for name in STAGES.values()}

    labels = combined(given=given, nesting=nesting)

    assert labels.dtype == np.uint8
    kidney, mass, tumor = (given[name] > 0.5 for name in STAGES.values())
    for region, union, intersection in (
        ("kidney_and_mass", kidney | mass | tumor, kidney),
        ("mass", mass | tumor, kidney & mass),
        ("tumor", tumor, kidney & mass & tumor),
    ):
        np.testing.assert_array_equal(held(labels, region), union if nesting == "union" else intersection)


@pytest.mark.parametrize("nesting", ["union", "intersection"])
def test_where_masses_are_tumors_there_is_no_cyst(combined, nesting):
    labels = combined({**STAGES, "mass": None}, nesting=nesting)

    kidney, _, tumor = EVERY
    assert set(np.unique(labels)) == {0, 1, 2}
    expected = tumor if nesting == "union" else tumor & kidney
    np.testing.assert_array_equal(held(labels, "tumor"), expected)


def test_nothing_found_is_nothing(combined):
    assert not combined(given=dict.fromkeys(STAGES.values(), np.zeros(8))).any()


def test_a_stage_that_tells_more_is_asked_for_its_region_alone(said):
    """Of labels the region's probability is their sum, of regions the largest of those inside it."""
    labels = said(torch.tensor([0.3, 0.4, 0.3]).view(3, 1, 1, 1), LabelOutput(["kidney", "tumor"], ["kidney_and_mass"]))
    regions = said(torch.tensor([0.2, 0.8]).view(2, 1, 1, 1), RegionOutput([], ["kidney_and_mass", "mass"]))

    answer = NestedRegions({"kidney_and_mass": "whole", "mass": "fine", "tumor": "whole"})(
        {"whole": labels, "fine": regions}
    )
    kidney = NestedRegions({"kidney_and_mass": "fine"})({"fine": regions})

    assert answer.slab(slice(0, 1)).flatten().tolist() == pytest.approx([0.7, 0.8, 0.3])
    assert kidney.slab(slice(0, 1)).item() == pytest.approx(0.8)


def test_regions_are_said_wherever_one_of_their_stages_looks(said):
    everywhere = (slice(0, 4), slice(0, 3), slice(0, 5))
    corner = (slice(2, 4), slice(0, 2), slice(3, 5))
    members = {
        "kidney": said(np.full((1, 4, 3, 5), 0.9), RegionOutput([], ["kidney_and_mass"]), everywhere, (4, 3, 5)),
        "tumor": said(np.full((1, 2, 2, 2), 0.9), RegionOutput([], ["tumor"]), corner, (4, 3, 5)),
        "mass": said(np.empty((1, 0, 0, 0)), RegionOutput([], ["mass"]), (slice(0, 0),) * 3, (4, 3, 5)),
    }

    labels = label_map(NestedRegions(STAGES)(members))

    expected = np.ones((4, 3, 5))
    expected[corner] = 2
    np.testing.assert_array_equal(labels, expected)


def test_a_stage_that_takes_no_part_is_told():
    combination = NestedRegions(STAGES)

    assert combination.asks(["coarse", "kidney", "mass", "tumor"]) == ["kidney", "mass", "tumor"]
    with pytest.raises(
        InputError, match=r"model\.combination needs the stages mass, which are not enabled: the stages a"
    ):
        combination.check(["coarse", "kidney", "tumor"])


@pytest.mark.parametrize(
    ("stages", "settings", "message"),
    [
        (
            {"liver": "a"},
            {},
            r"model\.combination\.stages=.* must name the stage of at least one region out of kidney_and",
        ),
        ({"mass": None}, {}, "must name the stage of at least one region"),
        ({"tumor": "a", "mass": "b"}, {}, "nested"),
        (STAGES, {"nesting": "none"}, r"model\.nesting=none is unknown: choose union or intersection \(a label map"),
    ],
)
def test_settings_that_cannot_work_are_refused(stages, settings, message):
    with pytest.raises(InputError, match=message):
        NestedRegions(stages, **settings)
