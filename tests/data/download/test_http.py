import threading
import time
from email.utils import formatdate

import pytest

from kidney_lab.data.download.http import (
    InterruptedTransferError,
    Patience,
    StoppedError,
    UnreachableError,
    persist,
    retry_after,
)
from kidney_lab.errors import InputError


class Waits:
    """Stands for an event that is never set, and notes how long it was waited for."""

    def __init__(self, stop_at=None):
        self.seconds = []
        self.stop_at = stop_at

    def wait(self, seconds):
        self.seconds.append(seconds)
        return len(self.seconds) == self.stop_at


def failing(wait=None):
    raise InterruptedTransferError("busy", wait)


def test_pauses_double_up_to_a_minute_and_are_random_by_half():
    waits = Waits()
    with pytest.raises(UnreachableError, match="busy; 9 attempts"):
        persist(failing, Patience(attempts=9, pause=1), waits)

    longest = [1, 2, 4, 8, 16, 32, 60, 60]
    assert all(most / 2 <= wait <= most for wait, most in zip(waits.seconds, longest, strict=True))
    assert len(set(waits.seconds)) == 8


def test_what_the_server_asks_for_replaces_the_pause():
    waits = Waits()
    with pytest.raises(UnreachableError):
        persist(lambda: failing(7.0), Patience(attempts=3), waits)

    assert waits.seconds == [7.0, 7.0]


def test_a_stop_ends_the_waiting():
    with pytest.raises(StoppedError):
        persist(failing, Patience(attempts=9), Waits(stop_at=2))


def test_bytes_that_were_there_before_are_no_progress():
    reached = iter([0, 5, 3, 5, 6, 0, 6, 6])  # before, and after each attempt: progress to 5 and to 6
    waits = Waits()
    with pytest.raises(UnreachableError):
        persist(failing, Patience(attempts=4, pause=1), waits, reached=lambda: next(reached))

    assert len(waits.seconds) == 6
    assert list(reached) == []


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, None), ("7", 7.0), ("0", 0.0), ("86400", 600.0), ("soon", None), ("Thu, 01 Jan 2015 00:00:00 GMT", 0.0)],
)
def test_retry_after_is_read(value, seconds):
    assert retry_after(value) == seconds


def test_retry_after_may_be_a_date():
    assert retry_after(formatdate(time.time() + 100, usegmt=True)) == pytest.approx(100, abs=2)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"attempts": 0}, "download.attempts=0 must be a whole number, at least 1"),
        ({"attempts": "many"}, "download.attempts=many must be a whole number"),
        ({"timeout": 0}, "download.timeout=0 must be a number of seconds above 0"),
        ({"pause": -1}, "download.pause=-1 must be a number of seconds, 0 or more"),
    ],
)
def test_impossible_patience_is_refused(options, sentence):
    with pytest.raises(InputError, match=sentence):
        Patience(**options)


def test_the_first_success_ends_the_attempts():
    answers = iter([InterruptedTransferError("busy"), 42])

    def attempt():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert persist(attempt, Patience(pause=0), threading.Event()) == 42
