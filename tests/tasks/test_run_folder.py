import pytest
from omegaconf import OmegaConf

from kidney_lab.errors import InputError
from kidney_lab.tasks.run_folder import config_hash, refuse_changes

CONFIG = {"seed": 0, "augment": {"device": "cpu"}, "data": {"root": "here", "split": "cases.json", "fold": None}}


def changed(**values):
    return {**CONFIG, "data": {**CONFIG["data"], **values}}


@pytest.mark.parametrize("values", [{"root": "there"}, {"test_root": "there"}, {"split": "/elsewhere/cases.json"}])
def test_the_hash_of_a_configuration_leaves_out_where_things_lie(values):
    assert config_hash(changed(**values)) == config_hash(CONFIG)


@pytest.mark.parametrize("values", [{"split": "auto"}, {"fold": 1}])
def test_the_hash_of_a_configuration_tells_what_is_learned_from_what(values):
    assert config_hash(changed(**values)) != config_hash(CONFIG)


def test_a_training_may_go_on_with_other_metrics_of_its_test_cases(tmp_path):
    OmegaConf.save(OmegaConf.create({**CONFIG, "metrics": "official", "lesions": False}), tmp_path / "config.yaml")

    refuse_changes(tmp_path, {**CONFIG, "metrics": ["dice", "hd95"], "lesions": True})


def test_a_training_goes_on_with_its_split_and_its_augmentation_elsewhere(tmp_path):
    OmegaConf.save(OmegaConf.create(CONFIG), tmp_path / "config.yaml")

    refuse_changes(tmp_path, {**changed(split=str(tmp_path / "cases.json")), "augment": {"device": "gpu"}})
    with pytest.raises(InputError, match=r"\n  - data\.fold was None and is 2"):
        refuse_changes(tmp_path, changed(fold=2))


def test_what_has_changed_is_told_by_its_own_key(tmp_path):
    before = {**CONFIG, "refits": [{"rate": 0.3, "sizes": [1, 2]}, {"rate": 0.3}]}
    OmegaConf.save(OmegaConf.create(before), tmp_path / "config.yaml")

    with pytest.raises(InputError) as refused:
        refuse_changes(tmp_path, {**CONFIG, "refits": [{"rate": 0.3, "sizes": [1, 3]}, {"rate": 0.1}]})

    told = str(refused.value).splitlines()[1:]
    assert [line.strip(" -") for line in told] == [
        "refits.0.sizes was [1, 2] and is [1, 3]",
        "refits.1.rate was 0.3 and is 0.1",
    ]
