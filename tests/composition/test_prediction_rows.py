import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from kidney_lab.composition.arguments import prepare_arguments
from kidney_lab.composition.prediction_rows import TASK, scored_once, with_prediction_rows
from kidney_lab.composition.table import Table, table_jobs
from kidney_lab.errors import InputError

HOSTILE = "my [pred] a=1, it's \\"


def table(nnunet, **others):
    rows = {"PM": ["model=x"], "nnU-Net": nnunet}
    return Table.of(OmegaConf.create({"experiment": {"table": "a/b"}, "rows": rows, "seeds": [0, 1], **others}))


def jobs(nnunet, *overrides):
    return table_jobs(table(nnunet), OverridesParser.create().parse_overrides(list(overrides)))


def test_a_row_of_predictions_is_one_job_whatever_the_seeds():
    found = jobs({"predictions": "pred"}, "data=phantom")

    assert found == [
        ["model=x", "data=phantom", "seed=0", "experiment.row='PM'", "~rows", "~seeds"],
        [TASK, "predictions='pred'", "data=phantom", "experiment.row='nnU-Net'", "~rows", "~seeds"],
        ["model=x", "data=phantom", "seed=1", "experiment.row='PM'", "~rows", "~seeds"],
    ]


def test_what_else_is_swept_over_multiplies_it():
    found = [job for job in jobs({"predictions": "pred"}, "data=a,b") if TASK in job]

    assert [job[2] for job in found] == ["data=a", "data=b"]


def test_trainings_that_are_asked_for_twice_are_run_twice():
    assert scored_once([["model=x"], ["model=x"]]) == [["model=x"], ["model=x"]]


@pytest.mark.parametrize("folder", [HOSTILE, "2026_11_22", "a,b"])
def test_any_folder_survives_hydra_s_grammar(folder):
    job = next(job for job in jobs({"predictions": folder}) if TASK in job)
    (override,) = OverridesParser.create().parse_overrides([job[1]])

    assert override.value() == folder


def test_a_row_whose_folder_is_not_named_is_left_out_in_a_sentence(caplog):
    assert list(table({"predictions": None}).rows) == ["PM"]
    assert caplog.messages == [
        "a/b: the row nnU-Net is left out, since it is a folder of label maps that is not named: add "
        "rows.nnU-Net.predictions=DIR."
    ]


def test_pairs_may_name_a_row_that_is_left_out():
    assert table({"predictions": None}, experiment={"table": "a/b", "compare": {"nnU-Net": "PM"}})


@pytest.mark.parametrize("said", [{}, {"prediction": "x"}, {"predictions": "x", "model": "y"}, {"predictions": ["x"]}])
def test_a_row_that_says_anything_else_is_refused(said):
    with pytest.raises(
        InputError, match=r"a/b: row 'nnU-Net' is .*, but must be a list of overrides, or predictions: DIR"
    ):
        with_prediction_rows({"nnU-Net": said}, "a/b")


@pytest.mark.parametrize("key", ["rows.nnU-Net.predictions", "+rows.nnU-Net.predictions"])
def test_the_command_line_names_the_folder_without_quoting_and_no_job_is_told_of_it(key):
    (argument,) = prepare_arguments([f"{key}={HOSTILE}"])
    (override,) = OverridesParser.create().parse_overrides([argument])

    assert override.value() == HOSTILE
    assert not any("rows.nnU-Net" in item for job in jobs({"predictions": HOSTILE}, argument) for item in job)
