from functools import partial

import pytest
from torch import distributed

from kidney_lab.process_group import from_first, in_group, of_all, place, wait_for_all


def test_a_process_that_is_alone_is_the_first_of_one_and_waits_for_nobody():
    wait_for_all()

    assert not in_group()
    assert place() == (0, 1)
    assert (from_first(partial(int, "7")), of_all(8)) == (7, [8])


@pytest.mark.parametrize("rank", [0, 1])
def test_each_process_of_a_group_knows_its_place_and_what_all_give(monkeypatch, rank):
    def gather(values, own):
        values[:] = [10, 11]
        assert own == values[rank]

    def broadcast(values):
        assert values == [None if rank else "made"]  # the first process alone makes it
        values[0] = "made"

    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_rank", lambda: rank)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(distributed, "all_gather_object", gather)
    monkeypatch.setattr(distributed, "broadcast_object_list", broadcast)

    assert place() == (rank, 2)
    assert of_all(10 + rank) == [10, 11]
    assert from_first(lambda: "made") == "made"
