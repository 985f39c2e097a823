import pytest
from omegaconf import OmegaConf

from kidney_lab.composition.counted_stages import counted_stages


@pytest.mark.parametrize(
    ("stages", "counted"),
    [
        ({"coarse": {}, "fine": {"contains": None}}, ["coarse", "fine"]),
        ({"detector": {}, "refit": {"contains": "detector"}, "other": {}}, ["refit", "other"]),
        ({"a": {}, "b": {"contains": "a"}, "c": {"contains": "b"}}, ["c"]),
        ({}, []),
    ],
)
def test_a_stage_is_not_counted_beside_the_one_that_contains_it(stages, counted):
    assert counted_stages(OmegaConf.create({"model": {"stages": stages}}), stages) == counted


def test_a_configuration_that_does_not_know_a_stage_counts_it():
    assert counted_stages(OmegaConf.create({}), ["only"]) == ["only"]
