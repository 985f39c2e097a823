"""What the tasks make of a method of several stages whose outputs are combined: model=msalds."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import OmegaConf

from kidney_lab.composition.resolvers import register_resolvers
from kidney_lab.composition.search_path import config_folder
from kidney_lab.data.nifti import read_volume, write_volume
from kidney_lab.errors import InputError
from kidney_lab.geometry import Volume
from kidney_lab.methods.pipeline import enabled_stages
from kidney_lab.tasks.settings import check_settings
from kidney_lab.tasks.testing import predicted_regions, segment_scored_cases

NO_DISCRIMINATORS = ("model.adversarial=none", "loss.difficulty=false")


def composed(*overrides):
    register_resolvers()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        everything = ["model=msalds", "trainer=smoke", "logger=none", "data.root=x", "hydra.mode=RUN", *overrides]
        config = compose("config", overrides=everything, return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    return config


@pytest.mark.parametrize(
    ("overrides", "stages"),
    [
        ([], ["coarse", "kidney", "mass", "tumor"]),
        (["trainer.strategy=ddp"], ["coarse", "kidney", "mass", "tumor"]),
        (["model.coarse=false"], ["kidney", "mass", "tumor"]),
        (["data=kits19"], ["coarse", "kidney", "tumor"]),  # whose masses are tumors
        (["trainer.strategy=ddp", *NO_DISCRIMINATORS], ["coarse", "kidney", "mass", "tumor"]),
    ],
)
def test_its_settings_make_these_stages(overrides, stages):
    config = composed(*overrides)
    check_settings(config)

    assert list(enabled_stages(config.model.stages)) == stages


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["+model.stages.kidney.enabled=false"], r"model\.combination needs the stages kidney, which are not enabled"),
        (["model.roi_size=[30,30]"], r"network of the stage coarse cannot take"),
        (["trainer.strategy=ddp_spawn"], r"choose trainer\.strategy=ddp_find_unused_parameters_true"),
        (["model.discriminator_channels=[2,4,4,8,8,8,8]"], r"The discriminators of the stage kidney cannot take"),
        (["model.discriminator.lr=-1"], r"check optimizer\.\*, scheduler\.\*, model\.discriminator\.\* and model\.lr"),
        (["model.stages.coarse.enabled=false"], r"stage kidney takes from the stage coarse, which is not enabled"),
    ],
)
def test_settings_that_cannot_work_are_refused(overrides, message):
    with pytest.raises(InputError, match=message):
        check_settings(composed(*overrides))


@pytest.mark.slow
def test_two_processes_train_it_and_its_report_shows_the_discriminators(command, tmp_path):
    together = ["trainer=ddp", "trainer.devices=2"]
    fast = ["preset=smoke", "trainer.accelerator=cpu", "trainer.precision=32-true", "logger=none"]
    command("model=msalds", *together, *fast, "hydra.run.dir=run", cwd=tmp_path)
    run = tmp_path / "run"

    record, split = (json.loads((run / name).read_text()) for name in ("run.json", "split.json"))
    assert record["status"] == "finished"
    assert list(record["stages"]) == ["coarse", "kidney", "mass", "tumor"]
    assert len({stage["steps"] for stage in record["stages"].values()}) == 1  # those of the segmentation network alone
    for place in (run, *(run / "stages" / name for name in record["stages"])):
        assert sorted(path.name for path in (place / "predictions").iterdir()) == [f"{c}.nii.gz" for c in split["test"]]
    pictures = [path.parent.name for path in sorted(run.glob("stages/*/confidence.png"))]
    assert pictures == ["kidney", "mass", "tumor"]
    page = (run / "report" / "report.html").read_text()
    assert all(f"Discriminators&#39; loss by level in stage <code>{name}</code>" in page for name in pictures)
    assert all(f"Discriminator of stage {name} after its last validation" in page for name in pictures)


@pytest.mark.slow
def test_a_run_is_resumed_and_predicts_what_its_test_phase_predicted(command, tmp_path):
    command("model=msalds", "trainer=smoke", "hydra.run.dir=run", cwd=tmp_path)
    run = tmp_path / "run"
    name = json.loads((run / "split.json").read_text())["test"][0]
    image = tmp_path / "data" / "phantom-smoke" / name / "imaging.nii.gz"
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*.ckpt")}

    command("resume=run", cwd=tmp_path)
    command("task=predict", "run=run", f"input={image}", "output=label.nii.gz", cwd=tmp_path)

    assert {path: path.stat().st_mtime_ns for path in run.rglob("*.ckpt")} == before
    labels, expected = (
        read_volume(path).array for path in (tmp_path / "label.nii.gz", run / "predictions" / f"{name}.nii.gz")
    )
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.slow
def test_a_training_killed_within_an_epoch_of_an_adversarial_stage_ends_as_the_uninterrupted_one(
    command, kill_at, tmp_path
):
    longer = ["model=msalds", "trainer=smoke", "logger=none", "model.max_epochs=4", "model.samples_per_epoch=40"]
    command(*longer, "hydra.run.dir=whole", cwd=tmp_path)
    last = tmp_path / "killed" / "stages" / "kidney" / "last.ckpt"
    kill_at(last, *longer, "hydra.run.dir=killed", cwd=tmp_path)
    assert torch.load(last, weights_only=True)["epoch"] < 3
    command("resume=killed", cwd=tmp_path)

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    checkpoints = sorted(path.relative_to(whole) for path in whole.rglob("*.ckpt"))
    assert len(checkpoints) == 2 * 4
    for path in checkpoints:
        expected, found = (torch.load(run / path, weights_only=True) for run in (whole, killed))
        assert expected["global_step"] == found["global_step"]
        assert expected["lr_schedulers"] == found["lr_schedulers"]
        for key, weights in expected["state_dict"].items():  # of the discriminators too
            assert torch.equal(weights, found["state_dict"][key]), (path, key)
        for one, other in zip(expected["optimizer_states"], found["optimizer_states"], strict=True):
            for number, state in one["state"].items():
                assert all(torch.equal(value, other["state"][number][key]) for key, value in state.items())
    for table in ("metrics.csv", "epochs.csv"):
        assert (whole / table).read_bytes() == (killed / table).read_bytes()


def enlivened(run) -> None:
    """Gives every stage's best network a head that finds something: two epochs at this size find nothing."""
    for path in run.glob("stages/*/best.ckpt"):
        state = torch.load(path, weights_only=True)
        heads = [name for name in state["state_dict"] if name.startswith("network.") and "head" in name]
        assert heads, path
        for name in heads:
            weight = state["state_dict"][name].zero_()
            if name.endswith("weight"):
                weight[:, ::2], weight[:, 1::2] = 10, -5
        torch.save(state, path)


@pytest.mark.slow
def test_the_reference_of_a_test_case_changes_no_bit_of_its_prediction(command, tmp_path):
    command("model=msalds", "trainer=smoke", "logger=none", "hydra.run.dir=run", cwd=tmp_path)
    enlivened(tmp_path / "run")
    names = json.loads((tmp_path / "run" / "split.json").read_text())["test"]
    original, changed = tmp_path / "data" / "phantom-smoke", tmp_path / "changed"
    shutil.copytree(original, changed)
    for name in names:
        path = changed / name / "segmentation.nii.gz"
        volume = read_volume(path)
        noise = np.random.default_rng(0).integers(0, 4, volume.array.shape).astype(np.uint8)
        write_volume(path, Volume(noise, volume.grid))
    runs = []
    for number, root in enumerate((original, changed)):
        runs.append(tmp_path / str(number))
        shutil.copytree(tmp_path / "run", runs[-1], ignore=shutil.ignore_patterns("predictions", "unprocessed"))
        config = OmegaConf.load(runs[-1] / "config.yaml")
        config.data.root, config.data.make = str(root), None
        segment_scored_cases(runs[-1], instantiate(config.data, _convert_="all"), "cpu", painted=runs[-1] / "painted")

    found = 0
    for name in names:
        for place in (
            "predictions",
            *(f"stages/{stage}/predictions" for stage in ("coarse", "kidney", "mass", "tumor")),
        ):
            one, two = (read_volume(run / place / f"{name}.nii.gz").array for run in runs)
            np.testing.assert_array_equal(one, two)
            found += len(np.unique(one)) > 1
    assert found > len(names)  # labels beside the background, and not by one stage alone


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
        name: {
            "module": {"output": plain["model"]["stages"][name]["module"]["output"] | {"labels": ["kidney", "tumor"]}}
        }
        for name in ("coarse", "kidney", "tumor")
    }
    OmegaConf.save({"model": {"stages": stages}}, tmp_path / "config.yaml")
    (tmp_path / "run.json").write_text("{}")

    predicted = predicted_regions(tmp_path, SimpleNamespace(regions=regions))

    assert predicted[tmp_path / "stages" / stage] == tuple(expected)
