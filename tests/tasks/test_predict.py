import json
import logging
import re

import highdicom as hd
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import SimpleITK
from omegaconf import OmegaConf

import kidney_lab
from kidney_lab.data.dicom import read_series
from kidney_lab.data.nifti import read_volume, write_volume
from kidney_lab.errors import BatchError, InputError
from kidney_lab.export.probabilities import read_probabilities
from kidney_lab.geometry import Grid, Volume, grid_from_spacing, reorient
from kidney_lab.tasks import predict as task
from kidney_lab.tasks.predict import predict

SHAPE = (8, 20, 24)
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def run(write_threshold_run, tmp_path_factory):
    return write_threshold_run(tmp_path_factory.mktemp("runs") / "a [run] x=1")


@pytest.fixture
def scan():
    """Writes a scan with a kidney on the left and a tumor in it; `shift` moves it to the patient's right."""

    def write(path, shift=0):
        image = np.full(SHAPE, 20, np.int16)
        image[2:7, 4:12, 14 - shift : 20 - shift] = 200
        image[3:5, 6:10, 15 - shift : 18 - shift] = 400
        affine = grid_from_spacing(SHAPE, (3.0, 1.0, 1.0)).affine
        affine[0, 3] = 12.0  # the patient's middle at 0
        write_volume(path, reorient(Volume(image, Grid(SHAPE, affine)), ("R", "P", "S")))
        return path

    return write


def settings(run, source, output, **others):
    chosen = {"dicom_seg": True, "overlay": False, "measurements": True, "probabilities": False}
    return OmegaConf.create(
        {
            **{"run": str(run), "input": str(source), "output": str(output), "device": "cpu", "overwrite": False},
            **{
                "trust": [],
                "shard": None,
                "inference": {"mirror_axes": None},
                "predict": chosen | others.pop("outputs", {}),
            },
            **others,
        }
    )


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_scan_gets_its_label_map_and_what_is_asked_for_beside_it(run, scan, tmp_path, capsys):
    image = scan(tmp_path / "ct.nii.gz")
    predict(settings(run, image, tmp_path / "out", outputs={"overlay": True, "probabilities": True}))

    assert files(tmp_path / "out") == [
        "ct.measurements.csv",
        "ct.nii.gz",
        "ct.overlay.png",
        "ct.prediction.json",
        "ct.probabilities.npz",
        "measurements.csv",
    ]
    hu, labels = read_volume(image), read_volume(tmp_path / "out" / "ct.nii.gz")
    np.testing.assert_array_equal(labels.array, (hu.array > 100).astype(np.uint8) + (hu.array > 300))
    np.testing.assert_array_equal(labels.grid.affine, hu.grid.affine)
    table = pd.read_csv(tmp_path / "out" / "measurements.csv").set_index(["region", "side"])
    assert table.loc[("kidney", "left"), "volume_ml"] == pytest.approx((5 * 8 * 6 - 2 * 4 * 3) * 3 / 1000)
    assert table.loc[("tumor", "left"), "volume_ml"] == pytest.approx(2 * 4 * 3 * 3 / 1000)
    said = read_probabilities(tmp_path / "out" / "ct.probabilities.npz")
    np.testing.assert_array_equal(said.whole("tumor") > 0.5, labels.array == 2)
    assert re.search(r"1 label map in .* \([0-9.]+ s a scan, memory [0-9.]+ (MiB|GiB)\)", capsys.readouterr().out)


def test_a_dicom_series_gets_a_segmentation_that_other_readers_put_in_the_same_place(run, write_series, tmp_path):
    stored = np.full((7, 16, 18), 1044, np.uint16)
    stored[1:4, 3:9, 10:15] = 1264
    write_series(tmp_path / "ct", n=len(stored), stored=stored)
    predict(settings(run, tmp_path / "ct", tmp_path / "out"))

    assert files(tmp_path / "out") == [
        "ct.measurements.csv",
        "ct.nii.gz",
        "ct.prediction.json",
        "ct.seg.dcm",
        "measurements.csv",
    ]
    volume = read_series(tmp_path / "ct")
    expected = Volume((volume.array > 100).astype(np.uint8), volume.grid)
    assert expected.array.sum() == 3 * 6 * 5
    seg = hd.seg.segread(tmp_path / "out" / "ct.seg.dcm").get_volume(combine_segments=True)
    in_ras = Volume(seg.array, Grid(seg.array.shape, LPS_TO_RAS @ seg.affine))  # of the slices that hold anything
    for found in (by_itk(tmp_path / "out" / "ct.nii.gz"), in_ras):
        assert_at_the_same_place(reorient(found), reorient(expected))


def assert_at_the_same_place(found, expected):
    start = np.linalg.inv(expected.grid.affine) @ found.grid.affine[:, 3]
    first = np.rint(start[:3]).astype(int)
    np.testing.assert_allclose(start[:3], first, atol=1e-4)
    np.testing.assert_allclose(found.grid.affine[:, :3], expected.grid.affine[:, :3], atol=1e-4)
    whole = np.zeros_like(expected.array)
    whole[tuple(slice(a, a + n) for a, n in zip(first, found.array.shape, strict=True))] = found.array
    np.testing.assert_array_equal(whole, expected.array)


def by_itk(path) -> Volume:
    image = SimpleITK.ReadImage(path)
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) @ np.diag(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return Volume(SimpleITK.GetArrayFromImage(image).T, Grid(image.GetSize(), LPS_TO_RAS @ affine))


def test_finished_scans_are_skipped_and_others_are_done(run, scan, tmp_path, capsys, monkeypatch):
    for name in "abc":
        scan(tmp_path / "in" / f"{name}.nii.gz", shift="abc".index(name) * 3)
    predict(settings(run, tmp_path / "in", tmp_path / "out"))
    written = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    (tmp_path / "out" / "b.nii.gz").unlink()
    capsys.readouterr()

    predict(settings(run, tmp_path / "in", tmp_path / "out"))
    said = capsys.readouterr().out
    assert "2 scans finished before, skipped: overwrite=true segments them anew" in said
    assert "1 label map in" in said
    now = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    changed = {name for name in written if now[name] != written[name]}
    assert {"b.nii.gz"} <= changed <= {"b.nii.gz", "b.prediction.json"}  # the record may come out the same

    monkeypatch.setattr(task, "load_method", None)  # not even loaded
    predict(settings(run, tmp_path / "in", tmp_path / "out"))
    assert "3 scans finished before" in capsys.readouterr().out


def test_a_further_output_is_added_and_overwrite_does_everything_anew(run, scan, tmp_path, capsys):
    image = scan(tmp_path / "ct.nii.gz")
    predict(settings(run, image, tmp_path / "out"))
    predict(settings(run, image, tmp_path / "out", outputs={"overlay": True}))
    assert "ct.overlay.png" in files(tmp_path / "out")

    predict(settings(run, image, tmp_path / "out", overwrite=True))
    assert capsys.readouterr().out.count("1 label map in") == 3


def test_what_another_run_or_scan_left_is_not_mixed_in(run, scan, tmp_path, write_threshold_run):
    image = scan(tmp_path / "ct.nii.gz")
    predict(settings(run, image, tmp_path / "out"))
    other = write_threshold_run(tmp_path / "other")

    with pytest.raises(
        InputError, match=r"overwrite=true:\n.*was made by another run, threshold-made of today, into a"
    ):
        predict(settings(other, image, tmp_path / "out"))
    with pytest.raises(InputError, match="is that of another scan"):
        predict(settings(run, scan(tmp_path / "elsewhere" / "ct.nii.gz"), tmp_path / "out"))
    mirrored = {"inference": {"mirror_axes": [2]}}
    with pytest.raises(InputError, match=r"was made with inference=\[\{'mirror_axes': \[\], .*, and now it is"):
        predict(settings(run, image, tmp_path / "out", **mirrored))
    predict(settings(other, image, tmp_path / "out", overwrite=True, **mirrored))
    (settings_of_run,) = json.loads((tmp_path / "out" / "ct.prediction.json").read_text())["inference"]
    assert settings_of_run == {"mirror_axes": [2], "skip_air": True, "precision": "trained"}


def test_what_somebody_else_made_is_kept_unless_it_is_to_be_overwritten(run, scan, tmp_path):
    image, manual = scan(tmp_path / "ct.nii.gz"), tmp_path / "out" / "ct.nii.gz"
    manual.parent.mkdir()
    manual.write_bytes(b"by hand")

    with pytest.raises(InputError, match=r"overwrite=true:\n.*ct.nii.gz is there, but no ct.prediction.json says"):
        predict(settings(run, image, tmp_path / "out"))
    assert manual.read_bytes() == b"by hand"
    assert files(tmp_path / "out") == ["ct.nii.gz"]
    predict(settings(run, image, tmp_path / "out", overwrite=True))
    assert read_volume(manual).array.max() == 2


def test_measurements_of_another_run_are_not_left_among_new_label_maps(run, scan, tmp_path, write_threshold_run):
    image = scan(tmp_path / "in" / "a.nii.gz")
    predict(settings(run, tmp_path / "in", tmp_path / "out"))
    broken = scan(tmp_path / "in" / "b.nii.gz")
    predict(settings(run, broken, tmp_path / "out"))
    broken.write_bytes(broken.read_bytes()[:-30])  # its header is whole
    other = write_threshold_run(tmp_path / "other")
    nothing_else = {"overwrite": True, "outputs": {"measurements": False}}

    predict(settings(other, image, tmp_path / "out", **nothing_else))
    assert set(pd.read_csv(tmp_path / "out" / "measurements.csv").case) == {"b"}
    with pytest.raises(InputError, match="is truncated"):
        predict(settings(other, broken, tmp_path / "out", **nothing_else))
    assert files(tmp_path / "out") == ["a.nii.gz", "a.prediction.json"]


def test_broken_scans_are_told_first_and_the_others_are_done(run, scan, tmp_path, capsys):
    for name in "ac":
        scan(tmp_path / "in" / f"{name}.nii.gz")
    (tmp_path / "in" / "b.nii.gz").write_bytes(b"no header")
    whole = scan(tmp_path / "d.nii.gz").read_bytes()
    (tmp_path / "in" / "d.nii.gz").write_bytes(whole[:-30])  # its header is whole

    with pytest.raises(BatchError, match="2 of 4 scans could not be segmented:") as error:
        predict(settings(run, tmp_path / "in", tmp_path / "out"))
    assert [line.split(" ")[3] for line in str(error.value).splitlines()[1:]] == [
        str(tmp_path / "in" / f"{name}.nii.gz") for name in "bd"
    ]
    assert files(tmp_path / "out") == sorted(
        [
            *(f"{name}{end}" for name in "ac" for end in (".measurements.csv", ".nii.gz", ".prediction.json")),
            "measurements.csv",
        ]
    )
    said = capsys.readouterr().out
    assert said.index("b.nii.gz is no readable NIfTI") < said.index("a.nii.gz (") < said.index("d.nii.gz is truncated")
    assert set(pd.read_csv(tmp_path / "out" / "measurements.csv").case) == {"a", "c"}


def test_an_unforeseen_failure_is_told_with_its_traceback_and_the_others_are_done(
    run, scan, tmp_path, capsys, monkeypatch
):
    for name in "ab":
        scan(tmp_path / "in" / f"{name}.nii.gz")
    segment = task.segment_scan

    def fail_once(meter, job, *others):
        if job.scan.name == "a":
            raise RuntimeError("out of memory")
        return segment(meter, job, *others)

    monkeypatch.setattr(task, "segment_scan", fail_once)
    with pytest.raises(BatchError, match=r"1 of 2 scans .*\n  - .*a.nii.gz: RuntimeError: out of memory"):
        predict(settings(run, tmp_path / "in", tmp_path / "out"))
    assert "Traceback" in capsys.readouterr().out
    assert (tmp_path / "out" / "b.nii.gz").is_file()


def test_input_that_is_wrong_as_a_whole_is_the_users_to_mend(run, tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.nii.gz").write_bytes(b"no header")

    with pytest.raises(InputError, match="2 of 2 scans could not be segmented"):
        predict(settings(run, tmp_path, tmp_path / "out"))
    with pytest.raises(InputError, match=r"^\S*a.nii.gz is no readable NIfTI"):
        predict(settings(run, tmp_path / "a.nii.gz", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_an_interrupted_scan_leaves_no_half_file(run, scan, tmp_path, monkeypatch):
    image = scan(tmp_path / "ct.nii.gz")
    save = nib.save

    def interrupt(image, path):
        save(image, path)
        raise KeyboardInterrupt

    monkeypatch.setattr(nib, "save", interrupt)
    with pytest.raises(KeyboardInterrupt):
        predict(settings(run, image, tmp_path / "out"))
    monkeypatch.undo()
    assert files(tmp_path / "out") == ["ct.prediction.json"]
    predict(settings(run, image, tmp_path / "out"))
    assert (tmp_path / "out" / "ct.nii.gz").is_file()


def test_several_runs_are_averaged(scan, tmp_path, write_threshold_run):
    runs = [write_threshold_run(tmp_path / name) for name in ("one", "two, three")]
    image = scan(tmp_path / "ct.nii.gz")
    predict(settings(f"[{runs[0]},'{runs[1]}']", image, tmp_path / "out"))

    labels, hu = read_volume(tmp_path / "out" / "ct.nii.gz").array, read_volume(image).array
    np.testing.assert_array_equal(labels > 0, hu > 100)
    record = json.loads((tmp_path / "out" / "ct.prediction.json").read_text())
    assert [made["started"] for made in record["runs"]] == ["today, into one", "today, into two, three"]


def test_shards_together_do_every_scan_once(run, scan, tmp_path, capsys):
    for name in "abc":
        scan(tmp_path / "in" / f"{name}.nii.gz")
    for shard in ("1/2", "2/2"):
        predict(settings(run, tmp_path / "in", tmp_path / "out", shard=shard))
    said = capsys.readouterr().out
    assert "2 label maps in" in said
    assert "1 label map in" in said
    assert set(pd.read_csv(tmp_path / "out" / "measurements.csv").case) == {"a", "b", "c"}


def test_a_switch_that_is_none_is_refused(run, tmp_path):
    with pytest.raises(InputError, match=r"predict\.overlay=yes is no switch: give true or false"):
        predict(settings(run, tmp_path, tmp_path / "out", outputs={"overlay": "yes"}))


def test_a_node_or_path_that_is_empty_is_refused(run, tmp_path):
    whole = settings(run, tmp_path, tmp_path / "out")
    for key, value, message in (("predict", None, "^predict=null holds"), ("predict", 3, "^predict=3 holds")):
        with pytest.raises(InputError, match=message):
            predict(OmegaConf.merge(whole, {key: value}))
    with pytest.raises(InputError, match=r"^output= is empty"):
        predict(OmegaConf.merge(whole, {"output": ""}))


def test_a_scan_that_was_changed_is_not_taken_for_the_one_that_is_finished(run, scan, tmp_path):
    image = scan(tmp_path / "ct.nii.gz")
    predict(settings(run, image, tmp_path / "out"))
    scan(image, shift=9)
    with pytest.raises(InputError, match=r"ct\.nii\.gz was made of .*ct\.nii\.gz before that was changed"):
        predict(settings(run, image, tmp_path / "out"))


def test_the_failure_of_a_single_scan_is_told_once_and_the_first_line_is_not_empty(run, scan, tmp_path, capsys):
    image = scan(tmp_path / "in" / "ct.nii.gz")
    scan(tmp_path / "in" / "b.nii.gz")
    predict(settings(run, tmp_path / "in", tmp_path / "out"))
    assert not capsys.readouterr().out.startswith("\n")

    image.write_bytes(image.read_bytes()[:-30])
    with pytest.raises(InputError, match="is truncated"):
        predict(settings(run, image, tmp_path / "new"))
    assert "truncated" not in capsys.readouterr().out


def test_the_screen_has_its_log_back(run, scan, tmp_path):
    before = list(logging.getLogger("kidney_lab").handlers)
    predict(settings(run, scan(tmp_path / "ct.nii.gz"), tmp_path / "out"))
    assert logging.getLogger("kidney_lab").handlers == before


def test_the_command_tells_failed_scans_apart_from_wrong_input(run, scan, command, tmp_path):
    scan(tmp_path / "in" / "a.nii.gz")
    (tmp_path / "in" / "b.nii.gz").write_bytes(b"no header")
    arguments = ("task=predict", f"run={run}", f"input={tmp_path / 'in'}", f"output={tmp_path / 'my out [1]'}")
    result = command(*arguments, cwd=tmp_path, check=False)

    assert result.returncode == 1, result.stderr
    assert result.stderr.startswith("kidney_lab: 1 of 2 scans could not be segmented:\n  - ")
    assert "Traceback" not in result.stdout + result.stderr
    assert (tmp_path / "my out [1]" / "a.overlay.png").is_file()


@pytest.fixture(scope="module")
def case(smoke_run):
    name = sorted((smoke_run / "predictions").glob("*.nii.gz"))[0].name.removesuffix(".nii.gz")
    return name, smoke_run.parents[1] / "data" / "phantom-smoke" / name / "imaging.nii.gz"


def test_a_scan_gets_the_label_map_that_the_test_phase_gave_it(smoke_run, case, command, tmp_path):
    name, image = case
    output = tmp_path / "my label [1]=x.nii.gz"
    command("task=predict", f"run={smoke_run}", f"input={image}", f"output={output}", cwd=tmp_path)

    expected = nib.load(smoke_run / "predictions" / f"{name}.nii.gz")
    found = nib.load(output)
    np.testing.assert_array_equal(np.asarray(found.dataobj), np.asarray(expected.dataobj))
    np.testing.assert_array_equal(found.affine, nib.load(image).affine)


def test_load_method_gives_the_same_label_map(smoke_run, case):
    name, image = case
    method = kidney_lab.load_method(smoke_run, device="cpu")
    expected = np.asarray(nib.load(smoke_run / "predictions" / f"{name}.nii.gz").dataobj)
    scan = nib.load(image)

    np.testing.assert_array_equal(method.segment_file(image), expected)
    spacing = tuple(np.linalg.norm(scan.affine[:3, :3], axis=0))
    np.testing.assert_array_equal(method.segment(np.asarray(scan.dataobj), spacing), expected)


@pytest.mark.parametrize("source", ["abdomen_3mm_full.nii.gz", "dicom"])
def test_a_real_ct_gets_a_label_map_on_its_own_grid(source, run, shared_data, tmp_path):
    scan = shared_data / "ct" / source
    predict(settings(run, scan, tmp_path / "out"))

    image = read_series(scan) if scan.is_dir() else read_volume(scan)
    (written,) = (tmp_path / "out").glob("*.nii.gz")
    assert by_itk(written).grid.same_as(image.grid, 1e-3)
