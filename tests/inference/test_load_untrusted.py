"""Loading what a stranger has made."""

import json

import pytest
import torch
from omegaconf import OmegaConf

from kidney_lab.errors import InputError
from kidney_lab.inference.load import load_method

CHECKPOINT = "stages/segmentation/best.ckpt"


def test_code_in_a_checkpoint_of_a_run_does_not_run(run, touching, tmp_path):
    torch.save({"state_dict": {"network.x": touching(tmp_path / "harm")}}, run / CHECKPOINT)

    with pytest.raises(
        InputError, match=r"best\.ckpt is no checkpoint of weights alone, so that nothing of it is loaded"
    ):
        load_method(run, "cpu")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("weights", [[1], {1: torch.zeros(1)}, {"network.x": 1}, "x", None])
def test_what_is_no_weights_by_name_is_told(run, weights):
    torch.save({"state_dict": weights}, run / CHECKPOINT)

    with pytest.raises(InputError, match=r"best\.ckpt is no checkpoint of weights alone"):
        load_method(run, "cpu")


@pytest.mark.parametrize("weights", [{}, {"network.x": torch.zeros(1)}])
def test_weights_of_another_network_are_told(run, weights):
    torch.save({"state_dict": weights}, run / CHECKPOINT)

    with pytest.raises(InputError, match=r"^The weights in .*segmentation are not those of the stage that config"):
        load_method(run, "cpu")


@pytest.mark.parametrize(
    ("key", "call"),
    [
        *(
            (key, {"_target_": "os.mknod", "path": "harm"})
            for key in ("module.network", "module.optimizer", "inferer.x")
        ),
        ("intensity", {"_target_": "monai.transforms.LoadImage", "reader": "os.mknod", "path": "harm"}),  # it is called
        ("module.network", {"_target_": "torch.hub.load", "repo_or_dir": ".", "source": "local", "model": "harm"}),
        ("module.network", {"_target_": "torch.load", "f": "harm.ckpt", "weights_only": False}),
        ("augment", {"_target_": "torch.utils.cpp_extension.load_inline", "name": "harm", "cpp_sources": "int harm;"}),
    ],
)
def test_a_configuration_that_calls_anything_but_parts_of_methods_is_refused_before(
    run, touching, monkeypatch, tmp_path, key, call
):
    monkeypatch.chdir(tmp_path)
    torch.save(touching("harm"), "harm.ckpt")
    (tmp_path / "hubconf.py").write_text("import os\nos.mknod('harm')\n")
    config = OmegaConf.load(run / "config.yaml")
    OmegaConf.update(config, f"model.stages.segmentation.{key}", call, merge=False)
    OmegaConf.save(config, run / "config.yaml")

    calls = rf"config\.yaml calls model\.stages\.segmentation\.{key}\._target_={call['_target_']}, which is no part"
    with pytest.raises(InputError, match=calls):
        load_method(run, "cpu")
    assert not (tmp_path / "harm").exists()


def test_a_network_of_the_user_is_loaded_where_its_name_is_trusted(run, monkeypatch, tmp_path):
    (tmp_path / "my_nets.py").write_text("from monai.networks.nets import BasicUNet\nclass Net(BasicUNet): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = OmegaConf.load(run / "config.yaml")
    config.model.stages.segmentation.module.network._target_ = "my_nets.Net"
    OmegaConf.save(config, run / "config.yaml")

    with pytest.raises(InputError, match=r"my_nets\.Net, which is no part .* add trust=\[my_nets\.Net\]\.$"):
        load_method(run, "cpu")

    assert type(load_method(run, "cpu", trust="my_nets").stages["segmentation"].module.network).__name__ == "Net"
    assert load_method([run], "cpu", trust=["my_nets.Net"]).stages


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("config.yaml", "a: [", r"config\.yaml cannot be read \("),
        ("config.yaml", "- 1", r"config\.yaml holds no configuration: bring that file back"),
        ("config.yaml", "model: 3", r"config\.yaml has no model\.stages"),
        ("config.yaml", "a: !!python/object/apply:os.abort []", r"config\.yaml cannot be read \("),
        ("run.json", "{", r"run\.json cannot be read \("),
        ("run.json", "3", r"run\.json cannot be read \("),
        ("run.json", "{}", r"run\.json says no precision"),
        ("run.json", '{"precision": "64-true"}', r"run\.json says precision='64-true', which is none of 32-true, bf16"),
        ("run.json", '{"precision": [1]}', r"run\.json says precision=\[1\], which is none of 32-true, bf16"),
    ],
)
def test_files_that_say_nothing_are_told(run, name, text, message):
    (run / name).write_text(text)

    with pytest.raises(InputError, match=message):
        load_method(run, "cpu")


@pytest.mark.parametrize("status", ["running", "failed", "interrupted", None])
def test_only_finished_runs_are_loaded_but_by_their_own_training(run, status):
    (run / "run.json").write_text(json.dumps({"precision": "32-true", "status": status}))

    with pytest.raises(
        InputError,
        match=rf"^run=.*a run is a training that is {status} and not finished: end it by .* resume=.*a run, or",
    ):
        load_method(run, "cpu")
    assert load_method(run, "cpu", unfinished=True).stages


@pytest.mark.parametrize("text", ["{bad", "[1]", "3", '{"roi_size": "x"}', '{"roi_size": [1, 2]}'])
def test_a_damaged_view_is_told(run, text):
    (run / "stages" / "segmentation" / "view.json").write_text(text)

    with pytest.raises(InputError, match=r"^[^\n]*view\.json cannot be read \(.*\): bring that file back, or"):
        load_method(run, "cpu")


def test_of_a_view_only_what_it_knows_is_taken(run):
    (run / "stages" / "segmentation" / "view.json").write_text('{"roi_size": [32, 16, 16], "windows": 1}')

    view = load_method(run, "cpu").stages["segmentation"].view

    assert list(view.roi_size) == [32, 16, 16]
    assert callable(view.windows)
