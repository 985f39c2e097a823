import json
from types import SimpleNamespace

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from kidney_lab.composition.resolvers import register_resolvers
from kidney_lab.composition.search_path import config_folder
from kidney_lab.data.nifti import write_volume
from kidney_lab.errors import InputError
from kidney_lab.geometry import Volume, grid_from_spacing
from kidney_lab.metrics.case_scores import Scoring
from kidney_lab.metrics.table import read_metrics
from kidney_lab.tasks.testing import predicted_regions, scoring_of, write_scores

ENSEMBLE = {"_target_": "kidney_lab.inference.ensemble.Ensemble"}


def stage(*regions):
    output = {"_target_": "kidney_lab.methods.output.RegionOutput", "labels": ["kidney"], "regions": [*regions]}
    return {"module": {"output": output}}


def config_of(*regions, data=("kidney_and_mass", "mass", "tumor"), lesions=False):
    model = {"stages": {"only": stage(*regions)}}
    return OmegaConf.create(
        {"model": model, "data": {"name": "x", "regions": data}, "metrics": "official", "lesions": lesions}
    )


class TestScoring:
    @pytest.mark.parametrize(
        ("predicted", "scored"),
        [
            (["kidney_and_mass"], ("kidney_and_mass",)),
            (["kidney_and_mass", "tumor"], ("kidney_and_mass", "tumor")),
            (["kidney_and_mass", "mass", "tumor"], ("kidney_and_mass", "mass", "tumor")),
        ],
    )
    def test_only_what_the_method_predicts_is_scored(self, predicted, scored):
        assert scoring_of(config_of(*predicted)).regions == scored

    def test_lesions_are_scored_where_a_region_has_any_and_are_no_fault_elsewhere(self):
        assert scoring_of(config_of("kidney_and_mass", "tumor", lesions=True)).lesions
        assert not scoring_of(config_of("kidney_and_mass", lesions=True)).lesions
        with pytest.raises(InputError, match="lesions=true needs a region that has lesions"):
            scoring_of(config_of("kidney_and_mass", data=["kidney_and_mass"], lesions=True))

    def test_a_method_that_predicts_nothing_that_is_scored_is_refused(self):
        with pytest.raises(InputError, match=r"predicts mass, and data=x is scored by tumor: choose a model\.target"):
            scoring_of(config_of("mass", data=["tumor"]))

    @pytest.mark.parametrize(
        ("overrides", "regions"),
        [
            (["model=transfer_ensemble"], ("kidney_and_mass",)),
            (["model=transfer_ensemble", "model.target=all"], ("kidney_and_mass", "mass", "tumor")),
            (["model=msalds", "data=kits19", "data.root=x"], ("kidney_and_mass", "tumor")),
            (["model=cascade_unet"], ("kidney_and_mass", "mass", "tumor")),
            (["model=ernet"], ("kidney_and_mass", "tumor")),
        ],
    )
    def test_of_every_kind_of_method(self, overrides, regions):
        register_resolvers()
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            config = compose("config", overrides=["trainer=smoke", "logger=none", *overrides])

        assert scoring_of(config).regions == regions


@pytest.fixture
def run(tmp_path):
    """A run of a stage that predicts kidneys, and of a member that predicts tumors, each with a label map."""
    folders = {"run": stage("kidney_and_mass"), "member": stage("tumor")}
    for name, own in folders.items():
        folder = tmp_path / name
        folder.mkdir()
        members = [str(tmp_path / "member")] if name == "run" else []
        model = {"stages": {"only": own}, "member_runs": members, "combination": ENSEMBLE}
        OmegaConf.save({"model": model}, folder / "config.yaml")
        (folder / "run.json").write_text(json.dumps({"status": "finished"}))
    return tmp_path / "run"


def labels(*values):
    return Volume(np.array(values, np.uint8).reshape(1, 2, 3), grid_from_spacing((1, 2, 3), (1.0, 1.0, 1.0)))


def test_every_stage_and_member_is_scored_by_the_regions_that_it_predicts(run, tmp_path):
    write_volume(tmp_path / "reference.nii.gz", labels(0, 1, 1, 1, 2, 2))
    write_volume(run / "predictions" / "a.nii.gz", labels(0, 1, 1, 1, 2, 0))
    write_volume(run / "stages" / "only" / "predictions" / "a.nii.gz", labels(0, 1, 1, 1, 0, 0))
    write_volume(run / "members" / "1" / "predictions" / "a.nii.gz", labels(0, 0, 0, 2, 2, 2))
    case = SimpleNamespace(label=tmp_path / "reference.nii.gz", image=None)
    split = SimpleNamespace(scored_cases=["a"], scored="test")
    dataset = SimpleNamespace(cases={"a": case}, split=split, regions=("kidney_and_mass", "mass", "tumor"))

    write_scores(run, dataset, 1, Scoring(regions=("kidney_and_mass", "tumor"), metrics=("dice",)))

    assert predicted_regions(run, dataset) == {
        run / "stages" / "only": ("kidney_and_mass",),
        run / "members" / "1": ("tumor",),
    }
    scores = {
        place: {
            row["region"]: row["value"]
            for row in read_metrics(run / place).to_dict("records")
            if row["metric"] == "dice"
        }
        for place in (".", "stages/only", "members/1")
    }
    assert scores["."] == pytest.approx({"kidney_and_mass": 8 / 9, "tumor": 2 / 3})
    assert scores["stages/only"] == pytest.approx({"kidney_and_mass": 6 / 8})
    assert scores["members/1"] == pytest.approx({"tumor": 4 / 5})
    assert json.loads((run / "members" / "1" / "summary.json").read_text())["tumor"]["dice"]["n"] == 1
