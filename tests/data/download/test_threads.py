import threading
import time

import pytest

from kidney_lab.data.download.threads import in_threads


def test_every_item_comes_with_its_result_or_its_error():
    results = {item: future for item, future in in_threads(lambda n: 6 // n, [0, 1, 2, 3], 2, threading.Event())}

    assert {item: results[item].result() for item in (1, 2, 3)} == {1: 6, 2: 3, 3: 2}
    with pytest.raises(ZeroDivisionError):
        results[0].result()


def test_as_many_items_are_in_work_as_there_are_threads():
    barrier = threading.Barrier(3, timeout=5)  # breaks unless three are in work at once

    assert all(
        future.exception() is None for _, future in in_threads(lambda _: barrier.wait(), range(6), 3, threading.Event())
    )


def test_no_item_is_begun_after_a_stop():
    stopped, begun = threading.Event(), []

    def work(n):
        begun.append(n)
        stopped.set()

    assert next(in_threads(work, range(9), 1, stopped))[0] == 0
    time.sleep(0.02)
    assert begun == [0]


def test_the_threads_do_not_keep_the_program_from_ending():
    kinds = {
        future.result()
        for _, future in in_threads(lambda _: threading.current_thread().daemon, [1], 1, threading.Event())
    }

    assert kinds == {True}
