import io
from pathlib import Path

from rich.console import Console

from kidney_lab.composition.sweep_folders import JobFolder
from kidney_lab.composition.sweep_table import JobLine, cells, print_table, write_table


def line(row, *overrides, **values):
    return JobLine(row, overrides, **values)


def overrides_of(*lines):
    return [row[2] for row in cells(lines)]


def test_of_the_overrides_those_are_shown_in_which_jobs_differ():
    assert overrides_of(line(None, "model=a", "seed=0"), line(None, "model=a", "seed=1")) == ["seed=0", "seed=1"]
    assert overrides_of(line(None, "model=a", "seed=0")) == [""]


def test_jobs_of_a_row_differ_in_what_the_row_does_not_say():
    of_row = [line("PM", "model=x", f"seed={seed}", "experiment.row='PM'", "~rows") for seed in (0, 1)]
    other = line("V", "model=y", "loss=z", "seed=0", "experiment.row='V'", "~rows")

    assert overrides_of(*of_row, other) == ["seed=0", "seed=1", ""]


def test_a_job_tells_of_itself_in_its_record():
    record = {"status": "failed", "overrides": ["seed=1"], "error": "no data", "job": {"row": "PM", "seconds": 3.0}}

    assert JobLine.of(JobFolder(Path("s/4"), record)) == JobLine(
        "PM", ("seed=1",), "failed", Path("s/4"), 3.0, "no data"
    )
    single = {"status": "finished", "overrides": [], "wall_time_s": 9.5}
    assert JobLine.of(JobFolder(Path("s/5"), single)).seconds == 9.5


def test_the_table_is_written_with_what_names_and_errors_hold(tmp_path):
    name = 'nnU-Net, "2D" [b]'
    lines = [line(name, "x=1", status="failed", folder=Path("s/0"), seconds=1.25, error="a, b"), line("V", "x=1")]

    write_table(lines, tmp_path / "sweep.csv")
    print_table(lines, Path("s [1]"), Console(file=(out := io.StringIO()), width=120))

    assert (tmp_path / "sweep.csv").read_text().splitlines() == [
        "job,row,overrides,status,seconds,folder,error",
        '0,"nnU-Net, ""2D"" [b]",,failed,1.2,s/0,"a, b"',
        ",V,,not started,,,",
    ]
    heading, _, first, second, *_ = out.getvalue().strip().splitlines()
    assert heading.split() == ["job", "row", "status", "seconds", "error"]  # no column without any content
    assert name in first
    assert second.split() == ["V", "not", "started"]
    assert "sweep  s [1]: 2 jobs, 1 failed, 1 not started" in out.getvalue()


def test_an_error_that_many_jobs_have_is_printed_once_and_written_for_each(tmp_path):
    errors = ["", "no data", "no data", "other", "no data", ""]
    lines = [line("A", f"seed={n}", folder=Path(f"s/{n}"), error=error) for n, error in enumerate(errors)]

    print_table(lines, Path("s"), Console(file=(out := io.StringIO()), width=120))
    write_table(lines, tmp_path / "sweep.csv")

    assert out.getvalue().count("no data") == 1
    assert out.getvalue().count("as job 1") == 2
    assert (tmp_path / "sweep.csv").read_text().count("no data") == 3
