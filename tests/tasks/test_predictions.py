import json

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from kidney_lab.composition.arguments import prepare_arguments
from kidney_lab.composition.config_hash import config_hash
from kidney_lab.composition.messages import to_plain
from kidney_lab.composition.resolvers import register_resolvers
from kidney_lab.composition.search_path import config_folder
from kidney_lab.data.nifti import write_volume
from kidney_lab.errors import InputError
from kidney_lab.geometry import Volume, grid_from_spacing
from kidney_lab.metrics.table import read_metrics
from kidney_lab.reporting.measured import measured_rows
from kidney_lab.reporting.runs import read_run
from kidney_lab.tasks.predictions import score_predictions

GRID = grid_from_spacing((6, 16, 16), (3.0, 1.0, 1.0))


def mask(rows):
    label = np.zeros(GRID.shape, np.uint8)
    label[1:5, rows, 2:8] = 1
    return label


@pytest.fixture
def score(tmp_path):
    """Scores a folder of predictions on the test cases among five; returns the run folder."""
    for number in range(5):
        folder = tmp_path / "data" / f"case_{number:05d}"
        write_volume(folder / "imaging.nii.gz", Volume(np.full(GRID.shape, -100, np.int16), GRID))
        write_volume(folder / "segmentation.nii.gz", Volume(mask(slice(0, 8)), GRID))

    def run(predictions, *overrides):
        register_resolvers()
        chosen = ["task=predictions", f"predictions='{predictions}'", "data=kits19", "data.n_test=2", "data.n_val=1"]
        paths = [f"data.root={tmp_path / 'data'}", f"prepare.root={tmp_path / 'stores'}", "prepare.workers=1"]
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            config = compose("config", overrides=[*chosen, *paths, *overrides], return_hydra_config=True)
        OmegaConf.set_readonly(config.hydra, False)
        config.hydra.runtime.output_dir = str(tmp_path / "run")
        HydraConfig.instance().set_config(config)
        score_predictions(OmegaConf.masked_copy(config, [key for key in config if key != "hydra"]))
        return tmp_path / "run"

    return run


@pytest.fixture
def predictions(tmp_path):
    """Label maps of all five cases, half of each reference, as nnU-Net leaves them, one of them uncompressed."""
    folder = tmp_path / "my pred"
    for number in range(5):
        name = f"case_{number:05d}.nii" + (".gz" if number else "")
        write_volume(folder / name, Volume(mask(slice(0, 4)), GRID))
    for name in ("dataset.json", "plans.json"):
        (folder / name).write_text("{}")
    return folder


def test_the_test_cases_are_scored_as_those_of_a_training(score, predictions):
    run = score(predictions)

    test = json.loads((run / "split.json").read_text())["test"]
    metrics = read_metrics(run)
    assert sorted(metrics["case"].unique()) == test
    dice = metrics[(metrics["region"] == "kidney_and_mass") & (metrics["metric"] == "dice")]["value"]
    np.testing.assert_allclose(dice, [2 / 3, 2 / 3])  # 2 * 4 / (4 + 8) of the rows
    assert {*metrics["region"]} == {"kidney_and_mass", "tumor"}
    assert sorted(path.name for path in (run / "predictions").iterdir()) == [f"{case}.nii.gz" for case in test]
    assert all((run / "figures" / f"{case}.png").is_file() for case in test)
    assert json.loads((run / "run.json").read_text())["status"] == "finished"


def test_it_is_a_row_of_a_table_without_model_seed_and_cost(score, predictions):
    run = read_run(score(predictions, "experiment.table=a/b", "experiment.row=nnU-Net"))

    (row,) = measured_rows([run])["a/b"]
    assert (row.title, run.name, run.untrained) == ("nnU-Net", "nnU-Net-kits19", True)
    assert "seed" not in run.record
    assert "model" not in OmegaConf.create(run.config)


def test_the_hash_is_that_of_the_configuration_that_is_kept(score, predictions):
    run = score(predictions)

    kept = to_plain(OmegaConf.load(run / "config.yaml"))
    assert json.loads((run / "run.json").read_text())["config_hash"] == config_hash(kept)


def test_lesions_of_regions_that_have_none_are_refused(score, predictions, tmp_path):
    with pytest.raises(InputError, match="lesions=true needs a region that has lesions"):
        score(predictions, "data.regions=[kidney_and_mass]", "lesions=true")
    assert not (tmp_path / "run").exists()


def test_a_missing_case_is_named_and_nothing_is_left_behind(score, predictions, tmp_path):
    for file in predictions.glob("case_0000[0-4]*"):
        file.unlink()
    write_volume(predictions / "case_00009.nii.gz", Volume(mask(slice(0, 4)), GRID))

    with pytest.raises(InputError, match=r"lacks 2 of the 2 test cases of data=kits19; nothing was scored:\n  - case_"):
        score(predictions)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("kept", "refused"), [(range(5), False), ([], True)])
def test_an_nnunet_that_could_see_a_test_case_is_refused(score, predictions, kept, refused):
    described = {"kidney_lab": {"test": [f"case_{number:05d}" for number in kept]}}
    (predictions / "dataset.json").write_text(json.dumps(described))

    if refused:
        with pytest.raises(InputError, match=r"2 test cases .* could be shown in training .*export this very split"):
            score(predictions)
    else:
        assert (score(predictions) / "metrics.csv").is_file()


def test_a_label_map_on_another_grid_is_refused_by_the_name_of_its_file(score, predictions):
    other = grid_from_spacing((5, 16, 16), (3.0, 1.0, 1.0))
    for file in predictions.glob("case_*"):
        write_volume(file, Volume(np.ones(other.shape, np.uint8), other))

    with pytest.raises(InputError, match=r"my pred/case_0000\d\.nii(\.gz)? has shape \(5, 16, 16\)"):
        score(predictions)


def test_a_folder_named_from_another_working_directory_is_the_same(score, predictions, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = score("my pred")
    arguments = prepare_arguments([f"resume={run}"])

    monkeypatch.chdir(tmp_path / "data")
    score(json.loads((run / "run.json").read_text())["paths"]["predictions"], f"resume='{run}'")

    assert len(json.loads((run / "run.json").read_text())["resumed"]) == 1
    recorded = json.loads((run / "run.json").read_text())["paths"]["predictions"]
    assert recorded == str(predictions)
    assert f"predictions='{predictions}'" in arguments
