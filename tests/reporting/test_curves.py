from kidney_lab.reporting.curves import learning_curves
from kidney_lab.reporting.runs import read_run, read_runs


def test_one_run_shows_all_its_losses_and_validation_scores(make_run):
    curves = learning_curves([read_run(make_run())])
    assert [(curve.stage, curve.title, curve.legend) for curve in curves] == [
        ("fine", "Loss", [(0, "train/loss"), (1, "val_patch/loss")]),
        ("fine", "Validation Dice", [(0, "val_case/tumor_dice")]),
    ]
    assert "epoch 1: 0.6 (kept)" in curves[1].svg


def test_several_runs_share_a_plot_with_a_colour_each(make_run):
    runs, _ = read_runs([make_run("a", overrides=["seed=0"]), make_run("b", overrides=["seed=1"])])
    assert [curve.legend for curve in learning_curves(runs)] == [[(0, runs[0].name), (1, runs[1].name)]] * 2


def test_run_without_epochs_has_no_curves(make_run):
    path = make_run()
    (path / "epochs.csv").unlink()
    assert learning_curves([read_run(path)]) == []
