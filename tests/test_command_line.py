"""The command as a user meets it: help, and every wrong input as one sentence with exit code 2."""

import os
import subprocess
import sys

import pytest


def kidney_lab(*arguments, cwd):
    environment = {**os.environ, "HYDRA_FULL_ERROR": "", "OMP_NUM_THREADS": "1"}
    environment.pop("HYDRA_FULL_ERROR")
    return subprocess.run(
        [sys.executable, "-m", "kidney_lab", *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def test_help_names_tasks_groups_and_examples(tmp_path):
    result = kidney_lab("--help", cwd=tmp_path)

    assert result.returncode == 0
    for task in ("train", "evaluate", "predict", "download", "prepare", "report"):
        assert f"task={task}" in result.stdout
    assert "trainer    auto, cpu, ddp, gpu, smoke" in result.stdout
    assert result.stdout.count("  python -m kidney_lab") >= 5


def test_help_imports_nothing_heavy(tmp_path):
    code = (
        "import sys; sys.argv = ['kidney_lab', '--help']\n"
        "from kidney_lab.__main__ import main\n"
        "try:\n    main()\nfinally:\n"
        "    print([name for name in ('torch', 'monai', 'pytorch_lightning', 'numpy') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert result.stdout.splitlines()[-1] == "[]"


def test_tab_completion_is_hydra_s(tmp_path):
    result = kidney_lab("-sc", "install=bash", cwd=tmp_path)

    assert result.returncode == 0
    assert "complete" in result.stdout


WRONG = {
    "an unknown option": (
        ["model=unet"],
        "model=unet is unknown (did you mean unet3d?): choose one of attention_unet, attention_unet3d, attention_vne",
    ),
    "an unknown key": (["modle=x"], "modle is unknown (did you mean model?): choose one of task, metrics,"),
    "an unknown nested key": (["trainer.max_epoch=1"], "trainer.max_epoch is unknown (did you mean max_epochs?)"),
    "a key below a value": (["seed.x=1"], "seed.x is unknown: seed holds a value and no further keys."),
    "an unknown task": (["task=trane"], "task=trane is unknown (did you mean train?)"),
    "a missing argument": (["task=predict", "run=x", "output=y"], "input= is missing"),
    "an unknown output": (["model.output=soft", "trainer=smoke"], "model.output=soft is unknown: choose labels or"),
    "a missing data root": (["data=kits23", "data.root=/nowhere"], "data=phantom needs no download"),
    "an unset data root": (["data=kits19"], "data=kits19 needs data.root=. The challenge gives the cases out at"),
    "an unknown experiment": (["+experiments=none/such"], "There is no config named experiments/none/such"),
    "experiment for experiments": (
        ["-m", "+experiment=cascade_unet/table4_2"],
        "+experiment= adds a key that is there already: a table is named by +experiments=<paper>/<table>.",
    ),
    "a name in the place of an experiment": (["++experiment=a/b"], "experiment=a/b is no experiment: write +experim"),
    "two tables at once": (
        ["-m", "+experiments=cascade_unet/table4_2,msalds/table2"],
        "+experiments=cascade_unet/table4_2,msalds/table2 names several experiments: run one after the other",
    ),
    "a row of predictions that are not there": (
        ["-m", "+experiments=msalds/table2", "data=phantom", "trainer=smoke", "+rows.nnU-Net.predictions=no/where"],
        "rows.nnU-Net.predictions=no/where is no folder: name one of label maps, or leave the row out.",
    ),
    "going on with no sweep": (
        ["sweep.resume=true", "trainer=smoke"],
        "sweep.resume=true goes on with a sweep: add -m",
    ),
    "no predictions": (["task=evaluate", "predictions=p", "references=r", "output=o"], "predictions=p is no folder"),
    "no runs": (["task=report", "runs=nothing*", "output=o"], "runs=nothing* matches nothing"),
    "no run": (["task=predict", "run=no", "input=a.nii", "output=b"], "input=a.nii is not there"),
    "two unknown keys": (["sedd=1", "modle=x"], "did you mean"),
    "a negative seed": (["trainer=smoke", "seed=-1"], "seed=-1 is no seed"),
    "an unknown region": (["data.regions=[foo]"], "data.regions holds ['foo']: choose from kidney_and_mass"),
    "regions that are not nested": (["data.regions=[tumor,kidney_and_mass]"], "needs nested data.regions"),
    "an unknown precision": (["trainer.precision=foo"], "trainer.precision=foo is unknown: choose one of auto"),
    "an impossible spacing": (["data.spacing=[1,2]"], "must be three mm above 0"),
    "a GPU that is not there": (["trainer.accelerator=foo"], "trainer.accelerator=foo is unknown"),
    "a wrong override": (["seed==="], "seed==="),
}


@pytest.mark.parametrize(("arguments", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_wrong_input_is_one_sentence_and_exit_code_2(arguments, sentence, command, tmp_path):
    result = command(*arguments, cwd=tmp_path, check=False)

    assert result.returncode == 2, result.stderr
    assert sentence in result.stderr
    assert result.stderr.startswith("kidney_lab: ")
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.glob("runs/*/*"))
