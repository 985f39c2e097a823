import io

from rich.console import Console

from kidney_lab.data.download.meter import Meter


def shown(terminal, steps, total=1_000_000, done=0):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
    with Meter(total, done, console) as meter:
        for n in steps:
            meter.advance(n)
    return console.file.getvalue()


def test_a_log_gets_a_line_every_twentieth():
    lines = shown(False, [10_000] * 100).splitlines()

    assert len(lines) == 20
    assert lines[0].startswith("5 %: 50.0 kB of 1.0 MB, ")
    assert lines[-1].startswith("100 %: 1.0 MB of 1.0 MB, ")


def test_bytes_that_were_thrown_away_give_no_second_line():
    lines = shown(False, [500_000, -500_000, 500_000, 500_000]).splitlines()

    assert [line.split(":")[0] for line in lines] == ["50 %", "100 %"]


def test_what_was_here_before_is_counted_as_done():
    assert shown(False, [100_000], done=400_000).startswith("50 %: 500.0 kB of 1.0 MB")


def test_a_total_that_nobody_knows_floods_no_log():
    assert shown(False, [10_000] * 100, total=0) == ""


def test_a_terminal_gets_a_bar_of_bytes():
    last = shown(True, [500_000, 500_000])

    assert "Downloading" in last
    assert "1.0/1.0 MB" in last
