import sys
from pathlib import Path

import pandas as pd
import pytest
from omegaconf import OmegaConf

from kidney_lab.errors import InputError
from kidney_lab.metrics import write_metrics
from kidney_lab.tasks.report import EXPERIMENTS, choices_of, expand, output_folder, run_folders


def test_brackets_in_what_exists_are_themselves(tmp_path, monkeypatch):
    for name in ("a [1]/x", "a [1]/y", "b"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    assert [str(path) for path in expand("a [1]/*")] == ["a [1]/x", "a [1]/y"]
    assert [str(path) for path in expand("a [1]/x")] == ["a [1]/x"]
    assert [str(path) for path in expand(f"{tmp_path}/[ab]")] == [f"{tmp_path}/b"]
    assert expand("nothing*") == []


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="Python 3.13 reads ** beside other characters as *")
def test_what_is_no_pattern_is_refused_in_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"runs=.*/rr/\*\*x is no pattern of paths .*: name run folders, for example"):
        expand(f"{tmp_path}/rr/**x")


def choices(published):
    config = {
        "baseline": None,
        "metrics": "official",
        "human": None,
        "by": "size",
        "published": published,
        "mixed": False,
        "figures": True,
        "pictures": True,
    }
    return choices_of(OmegaConf.create(config))


def test_published_numbers_are_the_project_s_or_those_of_a_folder_that_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my conf").mkdir()

    assert choices(None).experiments == EXPERIMENTS
    assert choices(f"{tmp_path}/my conf").experiments == tmp_path / "my conf"
    assert choices("~/my conf").experiments == tmp_path / "my conf"
    with pytest.raises(InputError, match=r"published=.*/nowhere is no folder: name one that holds <paper>/published"):
        choices(f"{tmp_path}/nowhere")


def test_runs_may_be_named_by_several_globs_and_count_once(tmp_path):
    for name in ("a/0", "a/1", "b/0"):
        (tmp_path / name).mkdir(parents=True)
    globs = OmegaConf.create([f"{tmp_path}/b/*", f"{tmp_path}/a/0", f"{tmp_path}/a/*"])

    assert [str(path.relative_to(tmp_path)) for path in run_folders(globs)] == ["b/0", "a/0", "a/1"]
    assert run_folders(f"{tmp_path}/a/1") == [tmp_path / "a" / "1"]
    with pytest.raises(InputError, match=r"runs=.*/c/\* matches nothing: name run folders"):
        run_folders(OmegaConf.create([f"{tmp_path}/a/*", f"{tmp_path}/c/*"]))


def test_a_report_is_written_into_no_file_and_no_run(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").touch()

    assert output_folder(str(tmp_path / "new")) == tmp_path / "new"
    with pytest.raises(InputError, match="file is a file: name a folder for the report"):
        output_folder(str(tmp_path / "file"))
    with pytest.raises(InputError, match="run is a run folder, whose tables and figures would be replaced: name an"):
        output_folder(str(tmp_path / "run"))


def test_runs_may_lie_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "runs" / "a").mkdir(parents=True)

    assert run_folders("~/runs/*") == [tmp_path / "home" / "runs" / "a"]
    monkeypatch.chdir(tmp_path)
    assert expand("~nobody.of.this.name/runs/*") == []
    Path("~").mkdir()
    assert expand("~") == [Path("~")]


def test_runs_on_other_cases_are_refused_unless_they_are_mixed(smoke_run, command, tmp_path):
    other = tmp_path / "other"
    frame = pd.read_csv(smoke_run / "metrics.csv")
    write_metrics(frame.assign(case="case_09999").drop_duplicates(["region", "metric"]), other)
    arguments = ["task=report", f"runs=[{smoke_run},{other}]", "output=out"]

    refused = command(*arguments, cwd=tmp_path, check=False)
    assert refused.returncode == 2
    assert "since they differ in the cases that were scored" in refused.stderr
    assert not (tmp_path / "out").exists()
    command(*arguments, "mixed=true", cwd=tmp_path)
    scores = (tmp_path / "out" / "scores.md").read_text()
    assert "Compared on different cases: other was scored on 1" in scores
    assert (tmp_path / "out" / "tables" / "scores.tex").is_file()


def test_runs_of_a_glob_are_reported_and_others_skipped(smoke_run, command, tmp_path):
    (smoke_run.parent / "no run").mkdir(exist_ok=True)
    command("task=report", f"runs={smoke_run.parent}/*", f"output={tmp_path / 'out'}", cwd=tmp_path)

    assert (tmp_path / "out" / "report.html").is_file()
    assert (tmp_path / "out" / "scores.md").is_file()
    assert (tmp_path / "out" / "figures" / "violins-dice-phantom.pdf").is_file()


def test_a_single_run_with_brackets_in_its_name_is_itself(smoke_run, command, tmp_path):
    command("task=report", f"runs={smoke_run}", f"output={tmp_path / 'out'}", "figures=false", cwd=tmp_path)

    assert not (tmp_path / "out" / "figures").exists()
    assert "unet3d-phantom" in (tmp_path / "out" / "report.html").read_text()


@pytest.fixture
def scores(smoke_run, tmp_path):
    """Scores of the run's own cases, a little better, as if another tool had predicted them."""
    folder = tmp_path / "other tool [1]=x"
    table = pd.read_csv(smoke_run / "metrics.csv")
    write_metrics(table.assign(value=table["value"] * 0.5 + 0.5), folder)
    return folder


def test_scores_of_another_tool_are_compared_with_the_run_that_is_named(smoke_run, scores, command, tmp_path):
    arguments = [f"runs={scores}", f"baseline={smoke_run}", "metrics=[dice]", "by=slices", "output=out"]
    command("task=report", *arguments, cwd=tmp_path)

    text = (tmp_path / "out" / "scores.md").read_text()
    differences = text.partition("## Differences to unet3d-phantom")[2].partition("\n## ")[0]
    assert "| other tool [1]=x | Tumor: Dice" in differences
    assert "Surface Dice \N{UPWARDS ARROW}" not in differences
    assert "## Tumor scores by slices" in text


def test_choices_that_do_not_fit_the_runs_are_refused_in_one_sentence(scores, command, tmp_path):
    for arguments, message in (
        (["baseline=nothing"], "baseline=nothing is no run of this report: name one of other tool [1]=x"),
        (["metrics=volume"], "metrics=volume: no run was scored by volume; choose official, all, or out of dice"),
        ([f"human={tmp_path}"], "holds no agreement of annotators (no agreement.json and no metrics.csv)"),
    ):
        result = command("task=report", f"runs={scores}", "output=out", *arguments, cwd=tmp_path, check=False)
        assert result.returncode == 2
        assert message in result.stderr
        assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_the_clinical_table_is_printed_and_written(command, shared_data, tmp_path):
    root = tmp_path / "a [root] x=1"
    for case in ("case_00016", "case_00400"):  # of the table, and of none
        (root / case).mkdir(parents=True)
        (root / case / "segmentation.nii.gz").symlink_to(shared_data / "kits19" / "case_00016" / "segmentation.nii.gz")
    (root / "kits.json").symlink_to(shared_data / "kits19" / "kits.json")

    result = command("task=report", "report=clinical", "data=kits19", f"data.root={root}", cwd=tmp_path)

    output = tmp_path / "runs" / "clinical-kits19"
    assert "and 120 are in this table" in " ".join(result.stdout.split())
    assert "runs/clinical-kits19/report.html" in result.stdout
    table = pd.read_csv(output / "clinical.csv", index_col="case")
    assert len(table) == 120
    assert table["tumor_volume_ml"].dropna().index.tolist() == ["case_00016"]


def test_the_clinical_table_is_that_of_the_chosen_cases(command, shared_data, tmp_path):
    (tmp_path / "kits.json").symlink_to(shared_data / "kits19" / "kits.json")
    (tmp_path / "case_00016").mkdir()
    (tmp_path / "case_00016" / "segmentation.nii.gz").symlink_to(
        shared_data / "kits19" / "case_00016" / "segmentation.nii.gz"
    )
    arguments = ["task=report", "report=clinical", "data=kits19", f"data.root={tmp_path}", "output=x"]
    command(*arguments, "data.cases=8-20", cwd=tmp_path)  # of which one has a scan here

    table = pd.read_csv(tmp_path / "x" / "clinical.csv", index_col="case")
    assert table.index.tolist() == [f"case_{k:05d}" for k in range(8, 21)]
    assert table["tumor_volume_ml"].dropna().index.tolist() == ["case_00016"]
    refused = command(*arguments, "data.cases=[0,999]", cwd=tmp_path, check=False)
    assert refused.returncode == 2
    assert "names 1 patient that" in refused.stderr
    assert "kits.json does not hold: case_00999; choose others, or leave data.cases out" in refused.stderr


def test_a_table_without_cases_is_reported_where_output_says(command, shared_data, tmp_path):
    (tmp_path / "kits23.json").symlink_to(shared_data / "kits23" / "kits23.json")
    command("task=report", "report=clinical", "data=kits23", f"data.root={tmp_path}", "output=x", cwd=tmp_path)

    assert "Tumor volume (ml) is left out" in (tmp_path / "x" / "clinical.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report=survival"], "report=survival is unknown: choose one of runs, clinical, wandb."),
        (["report=runs", "runs=."], "output= is missing"),
        (["report=clinical", "data=kits19"], "data=kits19 needs data.root="),
        (["report=clinical", "data=kits19", "data.root=nowhere"], "data.root=nowhere holds no clinical table"),
        (["report=clinical"], "data=phantom is made up and has no patients"),
    ],
)
def test_a_report_that_cannot_be_made_is_refused_in_one_sentence(command, tmp_path, arguments, message):
    result = command("task=report", *arguments, cwd=tmp_path, check=False)

    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
