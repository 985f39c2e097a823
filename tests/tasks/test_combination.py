"""What the tasks make of a method of several stages whose outputs are combined: model=msalds."""

from types import SimpleNamespace

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from kidney_lab.composition.resolvers import register_resolvers
from kidney_lab.composition.search_path import config_folder
from kidney_lab.errors import InputError
from kidney_lab.tasks.settings import check_settings
from kidney_lab.tasks.testing import predicted_regions


def composed(*overrides):
    register_resolvers()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        everything = ["model=msalds", "trainer=smoke", "logger=none", "data.root=x", "hydra.mode=RUN", *overrides]
        config = compose("config", overrides=everything, return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    return config


@pytest.mark.parametrize(
    "overrides", [[], ["model.coarse=false"], ["data=kits19"], ["model.adversarial=none", "loss.difficulty=false"]]
)
def test_its_settings_work(overrides):
    check_settings(composed(*overrides))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["+model.stages.kidney.enabled=false"], r"model\.combine needs the stages kidney, which are not enabled"),
        (["model.roi_size=[30,30]"], r"network of the stage coarse cannot take"),
        (["model.stages.coarse.enabled=false"], r"stage kidney takes from the stage coarse, which is not enabled"),
    ],
)
def test_settings_that_cannot_work_are_refused(overrides, message):
    with pytest.raises(InputError, match=message):
        check_settings(composed(*overrides))


@pytest.mark.parametrize(
    ("stage", "regions", "expected"),
    [
        ("coarse", ["kidney_and_mass", "mass", "tumor"], ["kidney_and_mass", "mass"]),
        ("kidney", ["kidney_and_mass", "mass", "tumor"], ["kidney_and_mass"]),
        ("tumor", ["kidney_and_mass", "tumor"], ["tumor"]),
        ("coarse", ["kidney_and_mass", "tumor"], ["kidney_and_mass"]),
    ],
)
def test_a_stage_is_scored_by_the_regions_that_it_predicts(tmp_path, stage, regions, expected):
    config = composed()
    plain = OmegaConf.to_container(OmegaConf.masked_copy(config, ["model", "data", "view"]), resolve=False)
    stages = {
        name: {"module": {"output": plain["model"]["stages"][name]["module"]["output"]}}
        for name in ("coarse", "kidney", "tumor")
    }
    OmegaConf.save({"model": {"stages": stages}}, tmp_path / "config.yaml")

    assert predicted_regions(tmp_path, stage, SimpleNamespace(regions=regions)) == expected
