from pathlib import Path

import pytest
from omegaconf import OmegaConf

from kidney_lab.errors import InputError
from kidney_lab.tasks.predict_settings import path_at, settings_at


def test_what_is_null_is_not_given():
    config = OmegaConf.create({"inference": {"mirror_axes": [1, 2], "skip_air": None, "precision": None}})
    assert settings_at(config, "inference") == {"mirror_axes": [1, 2]}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("predict", None, r"^predict=null holds no settings: give single ones, as predict\.overlay=false, or none\.$"),
        ("inference", None, r"^inference=null holds no settings: give single ones, as inference\.skip_air=false"),
        ("inference", 3, r"^inference=3 holds no settings"),
        ("inference", [1], r"^inference=\[1\] holds no settings"),
    ],
)
def test_what_is_no_node_is_refused(key, value, message):
    with pytest.raises(InputError, match=message):
        settings_at(OmegaConf.create({key: value}), key)


@pytest.mark.parametrize("value", ["", None])
def test_an_empty_path_is_refused(value):
    config = OmegaConf.create({"input": value, "output": value})
    with pytest.raises(InputError, match=r"^input= is empty: name the scans to segment\.$"):
        path_at(config, "input")
    with pytest.raises(InputError, match=r"^output= is empty: name a folder, or a \.nii\.gz for a single scan\.$"):
        path_at(config, "output")


def test_a_path_may_look_like_a_number():
    assert path_at(OmegaConf.create({"input": 2024}), "input") == Path("2024")
