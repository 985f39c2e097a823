import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig

from kidney_lab.composition.resolvers import register_resolvers
from kidney_lab.composition.search_path import config_folder, register_experiments
from kidney_lab.errors import InputError
from kidney_lab.tasks.settings import check_settings


def check(*overrides):
    register_resolvers()
    register_experiments()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        everything = ["trainer=smoke", "logger=none", "hydra.mode=RUN", *overrides]
        config = compose("config", overrides=everything, return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    check_settings(config)


def test_the_settings_as_they_come_work():
    check()


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("model.batch_size=0", "model.batch_size=0 is no count: give a whole number of at least 1."),
        ("data.num_workers=-1", "data.num_workers=-1 is no count: give a whole number of at least 0, or null."),
        ("trainer.max_epochs=abc", "trainer.max_epochs=abc is no count"),
        ("trainer.max_epochs=1.5", "trainer.max_epochs=1.5 is no count"),
        ("model.samples_per_epoch=null", "view.samples_per_epoch=None is no count"),
        ("prepare.workers=true", "prepare.workers=True is no count"),
        ("seed=-1", "seed=-1 is no seed"),
        ("optimizer.lr=abc", "The optimizer or scheduler of the stage segmentation cannot be made"),
        ("model.lr=-1", "optimizer or scheduler of the stage segmentation cannot be made .Invalid learning rate"),
        ("postprocessing.keep=some", "postprocessing.keep"),
    ],
)
def test_a_setting_that_cannot_work_is_one_sentence(override, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        check(override)
    assert "\n" not in str(caught.value)
