from kidney_lab.reporting.curves import learning_curves
from kidney_lab.reporting.runs import read_run, read_runs


def test_one_run_shows_all_its_losses_and_validation_scores(make_run):
    curves = learning_curves([read_run(make_run())])
    accuracies = [f"{part}/{name}" for part in ("train", "val_patch") for name in ("accuracy", "background_accuracy")]
    assert [(curve.stage, curve.title, curve.legend) for curve in curves] == [
        ("fine", "Loss", [(0, "train/loss"), (1, "val_patch/loss")]),
        ("fine", "Validation Dice", [(0, "val_case/tumor_dice")]),
        ("fine", "Pixel accuracy (mostly background)", list(enumerate(accuracies))),
    ]
    assert "epoch 1: 0.6 (kept)" in curves[1].svg


def test_several_runs_share_a_plot_with_a_colour_each(make_run):
    runs, _ = read_runs([make_run("a", overrides=["seed=0"]), make_run("b", overrides=["seed=1"])])
    assert [curve.legend for curve in learning_curves(runs)] == [[(0, runs[0].name), (1, runs[1].name)]] * 2


def test_run_without_epochs_has_no_curves(make_run):
    path = make_run()
    (path / "epochs.csv").unlink()
    assert learning_curves([read_run(path)]) == []


def adversarial(run):
    """Gives a run the columns that an adversarial stage logs, of two levels, the finer with a discriminator."""
    (run / "epochs.csv").write_text(
        "stage,epoch,step,train/loss,train/dice_0,train/dice_1,train/ce_0,train/ce_1,train/adv_0,"
        "train/discriminator_0,train/lambda_0,val_patch/loss\n"
        "coarse,0,5,2.0,,,,,,,,1.9\n"
        "fine,0,10,1.5,0.5,0.6,0.7,0.8,0.6,1.4,0.9,1.6\nfine,1,20,1.0,0.4,0.5,0.6,0.7,0.7,1.3,0.8,1.2\n"
    )
    return run


def test_an_adversarial_stage_shows_its_terms_with_a_line_for_each_level(make_run):
    best = {"monitor": "val_patch/loss", "value": 1.2, "epoch": 1}
    run = read_run(adversarial(make_run(stages={"coarse": {}, "fine": {"best": best}})))

    curves = [curve for curve in learning_curves([run]) if curve.stage == "fine"]

    assert {curve.title: [label for _, label in curve.legend] for curve in curves} == {
        "Loss": ["train/loss", "val_patch/loss"],
        "Dice loss by level": ["train/dice_0", "train/dice_1"],
        "Cross-entropy by level": ["train/ce_0", "train/ce_1"],
        "Adversarial loss by level": ["train/adv_0"],
        "Discriminators' loss by level": ["train/discriminator_0"],
        "Mean weight of a pixel by level": ["train/lambda_0"],
    }
    assert [curve.title for curve in curves if curve.shows_kept] == ["Loss"]
    assert "val_patch/loss, epoch 1: 1.2 (kept)" in curves[0].svg
    assert [curve.title for curve in learning_curves([run]) if curve.stage == "coarse"] == ["Loss"]


def test_several_runs_show_no_levels(make_run):
    runs, _ = read_runs([adversarial(make_run(name)) for name in "ab"])
    assert {curve.title for curve in learning_curves(runs)} == {"Loss"}
