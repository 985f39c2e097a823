import pytest

from kidney_lab.composition.resolvers import equal, out_channels
from kidney_lab.errors import InputError


def test_a_softmax_needs_a_channel_for_the_background():
    assert out_channels("labels", ["kidney", "tumor"], ["kidney_and_mass", "tumor"]) == 3


def test_regions_need_a_channel_each():
    assert out_channels("regions", ["kidney", "tumor", "cyst"], ["kidney_and_mass", "mass", "tumor"]) == 3


def test_another_output_names_the_choices():
    with pytest.raises(InputError, match=r"model\.output=soft is unknown: choose labels or regions"):
        out_channels("soft", [], [])


def test_equality_of_values():
    assert equal("a", "a")
    assert not equal("a", "b")
