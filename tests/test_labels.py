from itertools import pairwise

from kidney_lab.labels import LABELS, OFFICIAL_REGIONS, REGIONS


def test_every_region_is_made_of_known_labels():
    assert {value for values in REGIONS.values() for value in values} == set(LABELS.values())


def test_the_official_regions_are_nested_from_the_outermost_inward():
    for outer, inner in pairwise(OFFICIAL_REGIONS):
        assert set(REGIONS[inner]) < set(REGIONS[outer])


def test_a_region_named_as_a_label_is_that_label():
    assert {name: REGIONS[name] for name in LABELS} == {name: (value,) for name, value in LABELS.items()}
