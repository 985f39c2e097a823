import pytest
from rich.console import Console
from rich.progress import Progress

from kidney_lab.progress import stage_named, tell
from kidney_lab.tasks.predict_progress import ScanBars


def shown(progress):
    return [(bar.description, bar.completed, bar.total) for bar in progress.tasks]


def test_the_bar_of_a_scan_names_its_stage_and_how_far_it_has_come():
    progress = Progress(console=Console(quiet=True))
    bars = ScanBars(progress, 2)
    with bars.scan("ct [1]"):
        with stage_named("reading"):
            tell(0, 0)
            assert shown(progress)[1] == ("ct [1]: reading", 0, None)
        with stage_named("coarse"):
            tell(3, 8)
            assert shown(progress) == [("all scans", 0, 2), ("ct [1]: coarse", 3, 8)]
        with stage_named("writing"):
            tell(0, 0)
        assert shown(progress) == [("all scans", 0, 2), ("ct [1]: writing", 0, None)]
    assert shown(progress) == [("all scans", 1, 2)]


def test_a_scan_that_fails_counts():
    progress = Progress(console=Console(quiet=True))
    bars = ScanBars(progress, 2)
    with pytest.raises(ZeroDivisionError), bars.scan("a"):
        tell(1, 2 // 0)
    assert shown(progress) == [("all scans", 1, 2)]


def test_a_single_scan_has_no_bar_of_all():
    progress = Progress(console=Console(quiet=True))
    with ScanBars(progress, 1).scan("a"), stage_named("reading"):
        tell(0, 0)
        assert shown(progress) == [("a: reading", 0, None)]
    assert shown(progress) == []
