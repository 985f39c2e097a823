import json
import re
from pathlib import Path

import pytest

from kidney_lab.errors import InputError
from kidney_lab.reporting.runs import ScoredBy, read_run, read_runs


def test_run_is_read_back(make_run):
    run = read_run(make_run())
    assert (run.name, run.synthesized, run.record["seed"]) == ("unet3d-kits19", False, 7)
    assert len(run.metrics) == 16
    assert list(run.epochs["epoch"]) == [0, 1, 2]


def test_run_without_test_scores_is_still_a_run(make_run):
    run = read_run(make_run(dice={}, status="failed"))
    assert run.metrics.empty
    assert list(run.metrics.columns) == ["case", "region", "metric", "value"]


def test_a_job_in_which_nothing_was_trained_tells_its_error_and_a_sweep_its_jobs(tmp_path):
    job = {"status": "failed", "error": "predictions=p is no folder", "job": {"row": "nnU-Net"}}
    waiting = {"status": "waiting", "job": {"row": None}}
    for name, record in {"0": job, "1": waiting}.items():
        (tmp_path / "s" / name).mkdir(parents=True)
        (tmp_path / "s" / name / "run.json").write_text(json.dumps(record))

    with pytest.raises(InputError) as told:
        read_runs([tmp_path / "s" / "0", tmp_path / "s" / "1", tmp_path / "s"])

    assert [line.partition("/s")[2] for line in str(told.value).splitlines()[1:]] == [
        "/0 is a job of a sweep in which nothing was trained: row nnU-Net, failed, predictions=p is no folder.",
        "/1 is a job of a sweep in which nothing was trained: waiting.",
        f" is the folder of a sweep: name its jobs, {tmp_path}/s/*.",
    ]


def test_what_is_no_run_is_skipped_with_the_reason(make_run, tmp_path: Path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.yaml").touch()
    (tmp_path / "broken" / "run.json").write_text("{")
    runs, skipped = read_runs([tmp_path / "nothing", make_run(), tmp_path / "broken"])
    assert len(runs) == 1
    assert "nothing is no run folder: it has no run.json." in skipped[0]
    assert "broken cannot be read as a run folder" in skipped[1]


@pytest.mark.parametrize("text", ["model: [unet\n", "- a\n", "model: ${a\n", "\tmodel: 1\n"])
def test_a_run_with_a_damaged_configuration_is_skipped_in_one_sentence(make_run, text: str):
    whole, damaged = make_run("whole"), make_run("damaged")
    (damaged / "config.yaml").write_text(text)

    runs, skipped = read_runs([whole, damaged])

    assert [run.path for run in runs] == [whole]
    assert len(skipped) == 1
    assert re.search(r"damaged cannot be read as a run folder: .*\w", skipped[0])
    assert "\n" not in skipped[0]


def test_settings_are_read_once_and_numbers_are_numbers(make_run, monkeypatch):
    paths = [make_run(name) for name in ("a", "b")]
    for path in paths:
        (path / "config.yaml").write_text("lr: 1.0e-05\nmodel:\n  name: unet\n")
    runs, _ = read_runs(paths)
    monkeypatch.setattr("kidney_lab.reporting.runs.yaml.load", None)

    assert [run.name for run in runs] == ["unet3d-kits19 (a)", "unet3d-kits19 (b)"]  # renamed copies of what was read
    assert runs[0].settings == {"lr": 1e-5, "model": {"name": "unet"}}


def test_scores_that_runs_keep_of_their_stages_are_no_runs(make_run, make_scores):
    run = make_run()
    for name in ("stages/fine", "unprocessed", "evaluated"):
        (make_scores(f"run/{name}") / "summary.json").touch()
    (run / "evaluated" / "evaluation.json").write_text('{"score": "kits19"}')

    runs, skipped = read_runs([run, *sorted(run.rglob("*"))])

    assert [found.path for found in runs] == [run, run / "evaluated"]
    assert skipped == [f"3 folders inside run folders, such as {run / 'stages'}: name the runs."]


def test_files_among_the_paths_are_passed_over(make_run, tmp_path: Path):
    for name in ("multirun.yaml", "sweep.csv"):
        (tmp_path / name).touch()
    runs, skipped = read_runs([tmp_path / "multirun.yaml", make_run(), tmp_path / "sweep.csv"])

    assert (len(runs), skipped) == (1, [])


@pytest.mark.parametrize("paths", [[], ["nothing"]])
def test_without_any_run_the_error_says_what_a_run_is(tmp_path: Path, paths: list[str]):
    with pytest.raises(InputError, match=r"A run folder is what .* config\.yaml, run\.json"):
        read_runs([tmp_path / path for path in paths])


def test_runs_of_one_name_are_told_apart_by_their_overrides(make_run):
    paths = [make_run("0", overrides=["a=1", "seed=0"]), make_run("1", overrides=["a=1", "seed=1"])]
    assert [run.name for run in read_runs(paths)[0]] == ["unet3d-kits19 (seed=0)", "unet3d-kits19 (seed=1)"]


def test_runs_of_one_recipe_are_told_apart_by_their_folders(make_run):
    runs, _ = read_runs([make_run("a/0"), make_run("a/1")])
    assert [run.name for run in runs] == ["unet3d-kits19 (0)", "unet3d-kits19 (1)"]
    runs, _ = read_runs([make_run("b/run"), make_run("c/run")])
    assert len({run.name for run in runs}) == 2


def test_a_folder_of_scores_is_read_under_its_own_name(make_scores, tmp_path, monkeypatch):
    run = read_run(make_scores("their nnU-Net"))
    assert (run.name, run.scores_only, run.scored, run.data) == ("their nnU-Net", True, "evaluated", {})
    assert len(run.metrics) == 8
    assert run.strata is None
    monkeypatch.chdir(tmp_path / "their nnU-Net")
    assert read_run(Path()).name == "their nnU-Net"


def test_scores_without_their_summary_are_no_folder_of_scores(make_scores):
    folder = make_scores()
    (folder / "summary.json").unlink()  # written last
    with pytest.raises(InputError, match=r"no run folder: it has no run\.json"):
        read_run(folder)


def test_strata_are_read_with_the_scores(make_scores, make_run):
    assert read_run(make_scores(sizes={"case_00001": ">7 cm"})).strata["size"].tolist() == [">7 cm"]
    assert read_run(make_run()).strata is None


def test_damaged_strata_are_told(make_scores):
    folder = make_scores()
    (folder / "strata.csv").write_text("size\n1\n")
    with pytest.raises(InputError, match=r"strata\.csv cannot be read: it has no column case"):
        read_run(folder)


def test_folders_of_scores_beside_runs_do_not_change_how_these_are_told_apart(make_run, make_scores):
    paths = [make_run("0", overrides=["a=1", "seed=0"]), make_scores(), make_run("1", overrides=["a=1", "seed=1"])]
    assert [run.name for run in read_runs(paths)[0]] == [
        "unet3d-kits19 (seed=0)",
        "nnunet",
        "unet3d-kits19 (seed=1)",
    ]


def test_how_scores_were_made_is_read_with_them(make_run, make_scores, tmp_path, monkeypatch):
    assert read_run(make_run()).scored_by == ScoredBy("surfel", "kits23", None)
    folder = make_scores()
    assert read_run(folder).scored_by == ScoredBy(None, None, None)
    (folder / "evaluation.json").write_text('{"surface": "voxel", "score": "kits19", "references": "x/../labels"}')
    monkeypatch.chdir(tmp_path)
    assert read_run(folder).scored_by == ScoredBy("voxel", "kits19", tmp_path.resolve() / "labels")


@pytest.mark.parametrize("text", ["{", "3", '{"references": 3}'])
def test_a_damaged_record_of_an_evaluation_is_told(make_scores, text):
    folder = make_scores()
    (folder / "evaluation.json").write_text(text)
    with pytest.raises(InputError, match=r"evaluation\.json cannot be read: .*; score the cases again"):
        read_run(folder)


def test_a_run_of_another_tool_s_predictions_is_named_without_overrides_that_trained_nothing(make_run):
    made = [make_run("a", overrides=["seed=0"], seed=0), make_run("b", overrides=["seed=1"], seed=1)]
    other = make_run(
        "c", name="nnU-Net-phantom", predictions="pred", overrides=["task=predictions", "predictions=pred"]
    )

    runs, _ = read_runs([*made, other])

    assert [run.untrained for run in runs] == [False, False, True]
    assert runs[-1].name == "nnU-Net-phantom"
    assert runs[0].name.endswith("(seed=0)")
