import base64
import re
import shutil
from pathlib import Path

from kidney_lab.reporting.contents import Choices
from kidney_lab.reporting.gallery import galleries
from kidney_lab.reporting.html import write_report
from kidney_lab.reporting.pictures import MAX_VIEWERS, case_pictures
from kidney_lab.reporting.runs import read_runs


def pictures_of(*paths: Path):
    return case_pictures(galleries(read_runs(paths)[0], []))


def test_one_run_gets_viewers_of_its_worst_and_its_median_case_and_panels_of_its_best_too(make_run_with_scans):
    pictures = pictures_of(make_run_with_scans())

    assert [viewer.title for viewer in pictures.viewers] == ["case_00002: worst case", "case_00003: median case"]
    assert [viewer.id for viewer in pictures.viewers] == ["slices-case_00002", "slices-case_00003"]
    assert pictures.viewers[0].methods == [
        ("unet3d-kits19", "unet3d-kits19", "unet3d-kits19: Tumor Dice 0.500"),
    ]
    (panels,) = pictures.panels
    assert panels.name == "panels"
    assert "Slices of case_00002, case_00003, case_00001" in panels.alt
    assert base64.b64decode(panels.png).startswith(b"\x89PNG")
    assert pictures.notes == []


def test_several_runs_share_viewers_that_show_each_of_them(make_run_with_scans):
    first = make_run_with_scans("a", overrides=["seed=0"])
    other = {"case_00001": 0.1, "case_00002": 0.6, "case_00003": 0.95, "case_00004": 0.8}
    second = make_run_with_scans("b", dice=other, overrides=["seed=1"])
    pictures = pictures_of(first, second)

    assert len(pictures.viewers) <= MAX_VIEWERS
    assert pictures.viewers[0].title == "case_00001: worst case by the mean of all methods"
    assert "Worst case of unet3d-kits19 (seed=1). " in pictures.viewers[0].caption
    assert [[name for name, *_ in viewer.methods] for viewer in pictures.viewers] == [
        ["unet3d-kits19 (seed=0)", "unet3d-kits19 (seed=1)"]
    ] * len(pictures.viewers)


def test_synthesized_images_are_said_to_be_so(make_run_with_scans):
    pictures = pictures_of(make_run_with_scans(data={"name": "kits19", "synthesized": True}))
    assert "SYNTHESIZED image." in pictures.viewers[0].caption
    assert "SYNTHESIZED images" in pictures.panels[0].figure.legends[0].get_texts()[-1].get_text()


def test_what_is_gone_is_said_once(make_run_with_scans, tmp_path: Path):
    run = make_run_with_scans()
    (run / "predictions" / "case_00002.nii.gz").unlink()
    pictures = pictures_of(run)
    assert [viewer.case for viewer in pictures.viewers] == ["case_00003"]
    assert pictures.notes == ["Not shown of case_00002: unet3d-kits19 has kept no label map of it."]

    shutil.rmtree(tmp_path / "kits")
    pictures = pictures_of(run)
    assert (pictures.viewers, pictures.panels) == ([], [])
    (note,) = pictures.notes
    assert note.startswith("Not shown of case_00002, case_00003, case_00001: ")
    assert note.endswith("kits, where unet3d-kits19 found its data, is gone.")


def test_data_that_is_gone_is_told_in_the_terminal_too(make_run_with_scans, tmp_path: Path, caplog):
    run = make_run_with_scans()
    shutil.rmtree(tmp_path / "kits")
    write_report([run], tmp_path / "out", Choices(pictures=True))

    assert "kits, where unet3d-kits19 found its data, is gone." in caplog.text


def test_a_choice_in_a_viewer_stays_beside_its_name(make_run_with_scans, tmp_path: Path):
    page = write_report([make_run_with_scans()], tmp_path / "out", Choices(pictures=True)).html.read_text()

    pairs = re.findall(r'<span class="control">\s*<label for="([^"]+)">\w+</label>\s*<select id="([^"]+)"', page)
    assert len(pairs) == page.count("<select id=") == 6
    assert all(label == select for label, select in pairs)


def test_a_label_map_that_one_of_several_methods_has_not_kept_is_named_and_the_others_are_shown(make_run_with_scans):
    first, second = (make_run_with_scans(name, overrides=[name]) for name in "ab")
    for file in (second / "predictions").iterdir():
        file.unlink()
    pictures = pictures_of(first, second)
    assert [[name for name, *_ in viewer.methods] for viewer in pictures.viewers] == [["unet3d-kits19 (a)"]] * 2
    assert any("unet3d-kits19 (b) has kept no label map" in note for note in pictures.notes)


def test_a_report_has_pictures_where_they_are_wanted(make_run_with_scans, tmp_path: Path):
    run = make_run_with_scans()
    page = write_report([run], tmp_path / "with", Choices(pictures=True, figures=True)).html.read_text()
    assert {"panels.pdf", "panels.png"} < {path.name for path in (tmp_path / "with" / "figures").iterdir()}
    assert page.count('class="viewer"') == 2
    assert "figures/panels.png" in page

    page = write_report([run], tmp_path / "without").html.read_text()  # as after a training, which is not to wait
    assert 'class="viewer"' not in page
    assert not (tmp_path / "without" / "figures").exists()
