import json

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf, open_dict

from kidney_lab.composition.arguments import prepare_arguments
from kidney_lab.composition.messages import to_plain
from kidney_lab.composition.resolvers import register_resolvers
from kidney_lab.composition.search_path import config_folder
from kidney_lab.errors import InputError
from kidney_lab.tasks.members import settle_member_runs
from kidney_lab.tasks.run_folder import RunFolder, refuse_changes

CONFIG = {"seed": 0, "augment": {"device": "cpu"}, "data": {"root": "here", "split": "cases.json", "fold": None}}


def changed(**values):
    return {**CONFIG, "data": {**CONFIG["data"], **values}}


def test_a_training_may_go_on_with_other_metrics_of_its_test_cases(tmp_path):
    OmegaConf.save(OmegaConf.create({**CONFIG, "metrics": "official", "lesions": False}), tmp_path / "config.yaml")

    refuse_changes(tmp_path, {**CONFIG, "metrics": ["dice", "hd95"], "lesions": True})


def test_a_training_goes_on_with_its_split_and_its_augmentation_elsewhere(tmp_path):
    OmegaConf.save(OmegaConf.create(CONFIG), tmp_path / "config.yaml")

    refuse_changes(tmp_path, {**changed(split=str(tmp_path / "cases.json")), "augment": {"device": "gpu"}})
    with pytest.raises(InputError, match=r"\n  - data\.fold was None and is 2"):
        refuse_changes(tmp_path, changed(fold=2))


def test_a_training_goes_on_logged_and_loaded_otherwise(tmp_path):
    OmegaConf.save(OmegaConf.create(CONFIG), tmp_path / "config.yaml")

    refuse_changes(tmp_path, {**CONFIG, "logger": {"tags": []}, "trust": ["mine"], "inference": {"memory_gib": 4}})
    with pytest.raises(InputError, match=r"inference\.mirror_axes was None and is \[1\]"):
        refuse_changes(tmp_path, {**CONFIG, "inference": {"mirror_axes": [1]}})


def test_a_training_goes_on_from_the_weights_that_it_began_with_wherever_they_lie(tmp_path):
    for name, content in {"a": "one", "copy": "one", "b": "other"}.items():
        (tmp_path / f"{name}.ckpt").write_text(content)
    a, copy, b = (str(tmp_path / f"{name}.ckpt") for name in ("a", "copy", "b"))
    OmegaConf.save(OmegaConf.create({**CONFIG, "init": "a.ckpt"}), tmp_path / "config.yaml")

    refuse_changes(tmp_path, {**CONFIG, "init": copy}, {"init": a})
    for init in (b, None):
        with pytest.raises(InputError, match=r"init was 'a\.ckpt' and is "):
            refuse_changes(tmp_path, {**CONFIG, "init": init}, {"init": a})


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


def composed(*overrides):
    register_resolvers()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return compose("config", overrides=[*overrides, "hydra.mode=RUN"], return_hydra_config=True)


def own(config):
    """What a job is given of a composed configuration, plain."""
    return to_plain(OmegaConf.masked_copy(config, [key for key in config if key != "hydra"]))


@pytest.fixture
def interrupted(tmp_path, monkeypatch):
    """A function that begins a run in `work` by overrides, and returns those that go on with it from elsewhere."""

    def begin(*overrides):
        (tmp_path / "work").mkdir()
        for name in ("a.safetensors", "b.safetensors"):
            (tmp_path / "work" / name).write_text(name)
        monkeypatch.chdir(tmp_path / "work")
        config = composed(*overrides)
        with open_dict(config):
            config.hydra.runtime.output_dir = str(tmp_path / "run")
        HydraConfig.instance().set_config(config)
        with open_dict(config):
            del config["hydra"]
        with RunFolder.open(config).recording(config):
            pass
        monkeypatch.chdir(tmp_path)
        arguments = prepare_arguments([f"resume={tmp_path / 'run'}"])
        return [item for item in arguments if not item.startswith(("hydra.", "resume="))]

    return begin


def test_weights_to_begin_with_are_found_from_any_working_directory(interrupted, tmp_path):
    again = composed(*interrupted("model=ernet", "model.weights='a.safetensors'", "init='a.safetensors'"))

    assert again.init == again.model.weights == str(tmp_path / "work" / "a.safetensors")
    paths = json.loads((tmp_path / "run" / "run.json").read_text())["paths"]
    refuse_changes(tmp_path / "run", own(again), paths)
    again.model.weights = "imagenet"
    with pytest.raises(InputError, match=r"model\.weights was 'a\.safetensors' and is 'imagenet'"):
        refuse_changes(tmp_path / "run", own(again), paths)


def test_weights_of_several_encoders_are_found_from_any_working_directory(interrupted, tmp_path):
    files = "model.weights={resnet50: a.safetensors, vgg16: b.safetensors, inception_v3: none}"

    again = composed(*interrupted("model=transfer_ensemble", files))

    work = tmp_path / "work"
    named = {"resnet50": str(work / "a.safetensors"), "vgg16": str(work / "b.safetensors"), "inception_v3": "none"}
    assert again.model.weights == named
    paths = json.loads((tmp_path / "run" / "run.json").read_text())["paths"]
    refuse_changes(tmp_path / "run", own(again), paths)


def test_a_run_of_member_runs_is_gone_on_with_from_any_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    members = "model.member_runs=['a [run] x=1', b]"
    config = composed("model=transfer_ensemble", "trainer=smoke", "postprocessing.drop_detached_lesions=true", members)
    with open_dict(config):
        config.hydra.runtime.output_dir = str(tmp_path / "run")
    HydraConfig.instance().set_config(config)
    with open_dict(config):
        del config["hydra"]
    settle_member_runs(config)
    RunFolder.open(config).update(status="interrupted")

    arguments = prepare_arguments([f"resume={tmp_path / 'run'}"])

    record = json.loads((tmp_path / "run" / "run.json").read_text())
    members = [str(tmp_path / "a [run] x=1"), str(tmp_path / "b")]
    assert record["overrides"][-1] == "model.member_runs=['{}','{}']".format(*members)
    again = composed(*(item for item in arguments if not item.startswith(("hydra.", "resume="))))
    assert again.model.member_runs == members
