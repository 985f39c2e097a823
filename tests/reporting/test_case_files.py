import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from kidney_lab.data.kits import Case
from kidney_lab.errors import InputError
from kidney_lab.reporting.case_files import read_prediction, read_scan
from kidney_lab.reporting.runs import read_run


def change_data(run: Path, **settings: object) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["data"] |= settings
    (run / "config.yaml").write_text(yaml.safe_dump(config))


def test_scan_and_label_map_are_those_of_the_run(make_run_with_scans):
    run = read_run(make_run_with_scans(shift=2))
    scan = read_scan(run, "case_00002")
    labels = read_prediction(run, "case_00002", scan.grid)

    assert scan.spacing_mm == (3.0, 1.0, 1.0)
    assert scan.image[:, 0, 0].tolist() == [10 * z for z in range(16)]
    assert np.argmax((scan.reference == 2).sum(axis=(1, 2))) == 9
    np.testing.assert_array_equal(labels[:, :, 2:], scan.reference[:, :, :-2])


def test_data_is_found_where_the_run_resolved_it_to_and_nothing_of_its_configuration_is_called(make_run_with_scans):
    path = make_run_with_scans()
    root = yaml.safe_load((path / "config.yaml").read_text())["data"]["root"]
    record = json.loads((path / "run.json").read_text()) | {"paths": {"data.root": root}}
    (path / "run.json").write_text(json.dumps(record))
    change_data(path, root="elsewhere", make={"_target_": "os.abort"}, source={"_target_": "os.abort"})
    assert read_scan(read_run(path), "case_00001").image.shape == (16, 40, 60)


def test_an_image_that_was_painted_is_painted_again(make_run_with_scans, tmp_path: Path):
    path = make_run_with_scans()
    folder = tmp_path / "kits" / "case_00001"
    (folder / "imaging.nii.gz").unlink()
    change_data(path, synthesize_missing_images=True)

    image = read_scan(read_run(path), "case_00001").image

    painted = Case("case_00001", None, folder / "segmentation.nii.gz", synthesize=True).read_image()
    np.testing.assert_array_equal(image, painted.array)


def test_what_is_gone_is_said_in_a_sentence(make_run, make_run_with_scans, tmp_path: Path):
    with pytest.raises(InputError, match="does not say where its data lies"):
        read_scan(read_run(make_run("without_data")), "case_00001")
    run = read_run(make_run_with_scans())
    grid = read_scan(run, "case_00001").grid
    with pytest.raises(InputError, match="no longer holds case_00009"):
        read_scan(run, "case_00009")
    (run.path / "predictions" / "case_00001.nii.gz").unlink()
    with pytest.raises(InputError, match="kept no label map"):
        read_prediction(run, "case_00001", grid)
    shutil.rmtree(tmp_path / "kits")
    with pytest.raises(InputError, match="kits, where unet3d-kits19 found its data, is gone"):
        read_scan(run, "case_00001")


def test_label_maps_that_were_evaluated_are_found_by_the_record_of_the_evaluation(make_scores, make_run_with_scans):
    run = make_run_with_scans()
    folder = make_scores()
    (folder / "evaluation.json").write_text(json.dumps({"predictions": str(run / "predictions")}))
    grid = read_scan(read_run(run), "case_00001").grid
    assert (read_prediction(read_run(folder), "case_00001", grid) == 2).any()
