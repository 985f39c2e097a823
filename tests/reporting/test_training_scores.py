import math

from kidney_lab.reporting.runs import read_run
from kidney_lab.reporting.training_scores import training_scores

BEST = {"monitor": "val_patch/loss", "value": 1.0}


def test_scores_are_those_of_the_epoch_whose_weights_were_kept(make_run):
    assert training_scores(read_run(make_run())) == {
        "train_accuracy": 0.97,
        "train_background_accuracy": 0.89,
        "val_accuracy": 0.96,
        "val_background_accuracy": 0.94,
        "train_loss": 1.0,
        "val_loss": 1.2,
    }


def test_those_of_an_ensemble_are_the_means_of_its_members(make_run):
    run = make_run(stages={"vgg16": {"best": {**BEST, "epoch": 0}}, "resnet50": {"best": {**BEST, "epoch": 1}}})
    (run / "epochs.csv").write_text(
        "stage,epoch,step,train/loss,train/accuracy,val_patch/accuracy\n"
        "vgg16,0,9,0.4,0.90,0.80\nvgg16,1,9,9,9,9\nresnet50,0,9,9,9,9\nresnet50,1,9,0.2,0.96,\n"
    )
    found = training_scores(read_run(run))

    assert round(found["train_accuracy"], 9) == 0.93
    assert round(found["train_loss"], 9) == 0.3
    assert math.isnan(found["val_accuracy"])  # which one of them did not log in that epoch
    assert math.isnan(found["val_loss"])


def test_runs_without_stages_or_epochs_have_none(make_run, make_scores):
    ensemble, begun = make_run("a", stages={}), make_run("b", stages={"fine": {"parameters": 1}})

    for path in (ensemble, begun, make_scores()):
        assert all(math.isnan(value) for value in training_scores(read_run(path)).values())
