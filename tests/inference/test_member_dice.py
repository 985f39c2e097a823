import json

import pandas as pd
import pytest
from omegaconf import OmegaConf

from kidney_lab.errors import InputError
from kidney_lab.inference.member_dice import member_dice, run_dice
from kidney_lab.inference.member_runs import read_run

NESTED = {
    "_target_": "kidney_lab.inference.combine.NestedRegions",
    "stages": {"kidney_and_mass": "kidney", "tumor": "tumor"},
}
ENSEMBLE = {"_target_": "kidney_lab.inference.ensemble.Ensemble", "weights": "validation_dice"}
KIDNEY, TUMOR, MEAN = (f"val_case/{name}_dice" for name in ("kidney_and_mass", "tumor", "mean"))


@pytest.fixture
def make_run(tmp_path):
    """Writes a run that kept the weights of some epoch of each stage."""

    def make(name, kept, rows, **model):
        folder = tmp_path / name
        folder.mkdir()
        OmegaConf.save({"model": {"stages": {stage: {} for stage in kept}, **model}}, folder / "config.yaml")
        stages = {stage: {"best": {"monitor": "val_patch/loss", "epoch": epoch}} for stage, epoch in kept.items()}
        (folder / "run.json").write_text(json.dumps({"status": "finished", "stages": stages}))
        if rows:
            pd.DataFrame(rows).to_csv(folder / "epochs.csv", index=False)
        return read_run(folder)

    return make


def row(stage, epoch, **values):
    names = {"kidney": KIDNEY, "tumor": TUMOR, "mean": MEAN, "loss": "val_patch/loss"}
    return {"stage": stage, "epoch": epoch, **{names[name]: value for name, value in values.items()}}


def test_it_is_that_of_the_epoch_whose_weights_were_kept_whatever_was_watched(make_run):
    rows = [row("a", 0, kidney=0.5, tumor=0.1, mean=0.3), row("a", 1, kidney=0.75, tumor=0.25, mean=0.5, loss=0.2)]
    rows += [row("a", 2, loss=0.1), row("a/folds/0", 1, kidney=0.9)]  # an epoch without validation, and a fold

    assert member_dice(make_run("run", {"a": 1}, rows)) == {"a": {"kidney_and_mass": 0.75, "tumor": 0.25}}


def test_of_a_run_it_is_that_of_the_stages_that_decide(make_run):
    rows = [row("coarse", 0, kidney=0.1, tumor=0.1), row("kidney", 0, kidney=0.75), row("tumor", 0, tumor=0.5)]
    epochs = dict.fromkeys(("coarse", "kidney", "tumor"), 0)

    assert run_dice(make_run("nested", epochs, rows, combination=NESTED)) == {"kidney_and_mass": 0.75, "tumor": 0.5}
    assert run_dice(make_run("last", epochs, rows)) == {"tumor": 0.5}


def test_of_an_ensemble_it_is_the_mean_of_its_members(make_run):
    inner = make_run("inner", {"a": 0}, [row("a", 0, kidney=0.5)])
    rows = [row("x", 0, kidney=0.75, tumor=0.25), row("y", 0, kidney=1.0)]
    outer = make_run("outer", {"x": 0, "y": 0}, rows, combination=ENSEMBLE, member_runs=[str(inner.path)])

    assert member_dice(outer) == {
        "x": {"kidney_and_mass": 0.75, "tumor": 0.25},
        "y": {"kidney_and_mass": 1.0},
        "1": {"kidney_and_mass": 0.5},
    }
    assert run_dice(outer) == {"kidney_and_mass": 0.75, "tumor": 0.25}


@pytest.mark.parametrize("rows", [[], [row("a", 0, loss=0.5)], [row("a", 7, kidney=0.5)], [row("b", 0, kidney=0.5)]])
def test_a_member_that_was_not_validated_cannot_be_weighed(make_run, rows):
    with pytest.raises(InputError, match="run recorded none for the weights that it kept of its stage a: choose equal"):
        member_dice(make_run("run", {"a": 0}, rows))
