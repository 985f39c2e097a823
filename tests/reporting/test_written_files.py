from pathlib import Path

import pytest

from kidney_lab.errors import InputError
from kidney_lab.reporting.contents import Choices
from kidney_lab.reporting.html import write_report
from kidney_lab.reporting.written_files import LIST, keep_only


def test_only_what_an_earlier_report_wrote_is_removed(tmp_path: Path):
    output = tmp_path / "out"
    (output / "tables").mkdir(parents=True)
    for name in ("x.tex", "x.md", "x.csv", "y.tex"):
        (output / "tables" / name).touch()
    keep_only([output / "tables" / "y.tex", output / "tables" / "x.csv"], output)
    assert len(list((output / "tables").iterdir())) == 4

    keep_only([output / "tables" / "y.tex"], output)

    assert sorted(path.name for path in (output / "tables").iterdir()) == ["x.md", "x.tex", "y.tex"]


def test_a_report_removes_tables_and_figures_of_an_earlier_one_and_nothing_of_others(make_run, tmp_path: Path):
    runs = [make_run("a", name="a"), make_run("b", name="b")]
    own = [tmp_path / "out" / "tables" / f"my.{ending}" for ending in ("tex", "md", "csv")]
    write_report(runs, tmp_path / "out", Choices(figures=True))
    for file in own:
        file.touch()
    earlier = {path for folder in ("tables", "figures") for path in (tmp_path / "out" / folder).iterdir()}

    report = write_report(runs[:1], tmp_path / "out", Choices(figures=False))

    left = {path for folder in ("tables", "figures") for path in (tmp_path / "out" / folder).iterdir()}
    assert tmp_path / "out" / "tables" / "differences.tex" in earlier - left
    assert {path.name for path in left if path.parent.name == "figures"} == set()
    assert set(own) < left
    assert report.html.is_file()


def test_a_list_never_names_what_lies_outside_the_folder(tmp_path: Path):
    (tmp_path / "own.txt").touch()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / LIST).write_text('["../own.txt"]')

    keep_only([], tmp_path / "out")

    assert (tmp_path / "own.txt").exists()


@pytest.mark.parametrize("text", ["[", "3", "[3]"])
def test_a_damaged_list_is_told(tmp_path: Path, text: str):
    (tmp_path / LIST).write_text(text)
    with pytest.raises(InputError, match=r"cannot be read .*: delete it, or choose another output"):
        keep_only([], tmp_path)
