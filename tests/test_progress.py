import pytest

from kidney_lab.progress import listening, stage_named, tell


def test_whoever_listens_is_told_the_stage_and_how_far_it_has_come():
    told = []
    with listening(lambda *args: told.append(args)):
        tell(1, 2)
        with stage_named("1"):
            with stage_named("coarse"):
                tell(3, 4)
            tell(5, 6)
    tell(7, 8)
    assert told == [("", 1, 2), ("coarse", 3, 4), ("1", 5, 6)]


def test_an_error_ends_the_listening():
    told = []
    with pytest.raises(ValueError, match="x"), listening(lambda *args: told.append(args)), stage_named("a"):
        raise ValueError("x")
    tell(1, 2)
    assert not told
