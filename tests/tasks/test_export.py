import shutil

import numpy as np
import pytest
from omegaconf import OmegaConf

from kidney_lab.errors import InputError
from kidney_lab.inference.load import load_method
from kidney_lab.tasks.export import export


def settings(run, output, **others):
    given = {"run": str(run), "output": str(output)}
    return OmegaConf.create({**given, "format": "bundle", "onnx": False, "trust": [], **others})


def test_a_run_becomes_a_bundle_whose_files_are_told(write_threshold_run, tmp_path, capsys):
    export(settings(write_threshold_run(tmp_path / "run"), tmp_path / "bundle"))

    said = capsys.readouterr().out.splitlines()
    files = sorted(str(path.relative_to(tmp_path / "bundle")) for path in (tmp_path / "bundle").rglob("*.*"))
    assert [line.split()[-1] for line in said[:-1]] == files
    assert "stages/segmentation/model.safetensors" in files
    assert said[-1] == f"bundle  {tmp_path / 'bundle'}: task=predict run={tmp_path / 'bundle'} segments with it"


def test_a_switch_that_is_none_is_refused(tmp_path):
    with pytest.raises(InputError, match="onnx=maybe is no switch"):
        export(settings(tmp_path, tmp_path / "bundle", onnx="maybe"))


def test_the_command_exports_a_run_and_what_it_exported_segments(write_threshold_run, command, tmp_path):
    run = write_threshold_run(tmp_path / "runs" / "a [run]")
    command("task=export", "run=runs/a [run]", "output=my bundle", "onnx=false", cwd=tmp_path)
    shutil.rmtree(run)

    image = np.full((6, 12, 12), 20, np.int16)
    image[2:4, 3:8, 3:8] = 200
    labels = load_method(tmp_path / "my bundle", "cpu").segment(image, (3.0, 1.0, 1.0))
    np.testing.assert_array_equal(labels, (image > 100).astype(np.uint8))
