from xml.etree import ElementTree as ET

import pytest

from kidney_lab.reporting.compared import compared
from kidney_lab.reporting.mean_curves import mean_curves
from kidney_lab.reporting.row_groups import row_groups
from kidney_lab.reporting.runs import read_runs

SCORES = {"c0": {("tumor", "dice"): 0.5}}


def log(run, *losses, dice="val_case/tumor_dice"):
    """Writes epochs with these losses; Dice is 0.1 times the epoch from the second on."""
    lines = [f"fine,{epoch},{epoch},{loss},{0.1 * epoch if epoch else ''}" for epoch, loss in enumerate(losses)]
    (run / "epochs.csv").write_text("\n".join([f"stage,epoch,step,train/loss,{dice}", *lines]) + "\n")
    return run


def curves_of(paths, folder):
    runs, _ = read_runs(paths)
    (found,) = compared(runs, row_groups(runs, folder))
    return mean_curves(found)


def lines_of(plot, kind):
    return [line for line in ET.fromstring(plot.svg).iter("polyline") if line.get("class") == kind]


def heights(line):
    return [float(point.split(",")[1]) for point in line.get("points").split()]


@pytest.fixture
def rows(write_row):
    return [
        log(write_row("0", "A", SCORES, table="own/t", seed=0), 2.0, 1.0, 0.5),
        log(write_row("1", "A", SCORES, table="own/t", seed=1), 4.0, 2.0),
        log(write_row("2", "B", SCORES, table="own/t", seed=0), 3.0, 1.5, 1.0),
    ]


def test_seeds_are_thin_lines_and_their_mean_is_of_the_epochs_that_all_have(rows, tmp_path):
    loss, dice = curves_of(rows, tmp_path)

    assert (loss.title, loss.legend) == ("Loss in stage fine: own/t on kits19", [(0, "A"), (1, "B")])
    assert dice.name == "learning-fine-dice-own-t-kits19"
    first, second = (heights(line) for line in lines_of(loss, "line seed"))
    mean, other = (heights(line) for line in lines_of(loss, "line"))
    assert mean == pytest.approx([(first[0] + second[0]) / 2, (first[1] + second[1]) / 2], abs=0.02)
    assert len(other) == 3
    assert "Thick: the mean over the runs" in loss.caption
    assert not loss.repeats


def test_all_lines_are_of_one_column_that_every_run_has(rows, write_row, tmp_path):
    log(rows[2], 3.0, 1.5, 1.0, dice="val_case/mean_dice")
    (loss,) = curves_of(rows, tmp_path)

    assert "train/loss" in loss.svg


def test_single_runs_are_on_the_page_anyway(rows, tmp_path):
    assert all(plot.repeats for plot in curves_of([rows[0], rows[2]], tmp_path))


def test_one_epoch_is_no_curve(write_row, tmp_path):
    paths = [log(write_row(row, row, SCORES, table="own/t"), 2.0) for row in "AB"]

    assert curves_of(paths, tmp_path) == []


def test_runs_without_epochs_have_no_curves(write_row, tmp_path):
    path = write_row("0", "A", SCORES, table="own/t")
    (path / "epochs.csv").unlink()

    assert curves_of([path], tmp_path) == []
