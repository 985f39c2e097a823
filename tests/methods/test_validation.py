import math
import os
import socket

import pytest
import torch
from torch import distributed, multiprocessing

from kidney_lab.methods.validation import CaseScores

REGIONS = ("kidney_and_mass", "mass", "tumor")


def volume(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.uint8).reshape(1, 1, -1)


def test_dice_of_a_case_is_counted_by_hand():
    scores = CaseScores(REGIONS)

    #                   kidney_and_mass 3 of 4 and 4, mass 1 of 1 and 2, tumor 0 of 1 and 1
    scores.add("case_00000", volume(1, 1, 2, 0, 1), volume(1, 1, 3, 2, 0))

    assert scores.gather() == pytest.approx(
        {
            "kidney_and_mass_dice": 2 * 3 / 8,
            "mass_dice": 2 * 1 / 3,
            "tumor_dice": 0.0,
            "mean_dice": (2 * 3 / 8 + 2 * 1 / 3 + 0.0) / 3,
        }
    )


def test_a_case_whose_reference_lacks_a_region_is_left_out_of_its_mean():
    scores = CaseScores(REGIONS)
    scores.add("a", volume(1, 2, 2, 0), volume(1, 2, 2, 0))
    scores.add("b", volume(1, 2, 2, 0), volume(1, 0, 0, 0))  # claims a tumor where there is none
    scores.add("c", volume(1, 0, 0, 0), volume(1, 2, 2, 0))  # misses the tumor

    means = scores.gather()

    assert means["tumor_dice"] == pytest.approx((1 + 0) / 2)
    assert means["kidney_and_mass_dice"] == pytest.approx((1 + 2 * 1 / 4 + 2 * 1 / 4) / 3)


def test_a_region_that_no_reference_holds_is_undefined_and_left_out_of_the_mean():
    scores = CaseScores(REGIONS)
    scores.add("a", volume(1, 1, 2), volume(1, 1, 1))

    means = scores.gather()

    assert math.isnan(means["tumor_dice"])
    assert math.isnan(means["mass_dice"])
    assert means["mean_dice"] == means["kidney_and_mass_dice"] == 1.0


def test_where_nothing_is_defined_the_mean_is_undefined():
    scores = CaseScores(REGIONS)
    scores.add("a", volume(0, 1), volume(0, 0))

    assert all(math.isnan(value) for value in scores.gather().values())
    assert all(math.isnan(value) for value in CaseScores(REGIONS).gather().values())


def test_gathering_starts_the_next_collection():
    scores = CaseScores(["tumor"])
    scores.add("a", volume(2, 2), volume(2, 2))
    assert scores.gather()["tumor_dice"] == 1.0

    scores.add("b", volume(0, 0), volume(2, 2))

    assert scores.gather()["tumor_dice"] == 0.0


def gather_on(rank: int, port: int, results) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    distributed.init_process_group("gloo", rank=rank, world_size=2)
    scores = CaseScores(REGIONS)
    if rank == 0:  # two cases on one rank, one on the other: a mean of the ranks' means would be 3/4
        scores.add("a", volume(2, 2), volume(2, 2))
        scores.add("b", volume(2, 2), volume(2, 2))
    else:
        scores.add("c", volume(0, 1), volume(2, 2))
    results[rank] = scores.gather()
    distributed.destroy_process_group()


def test_ranks_together_give_the_mean_over_all_their_cases():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with multiprocessing.get_context("spawn").Manager() as manager:
        results = manager.dict()
        multiprocessing.spawn(gather_on, (port, results), nprocs=2)
        gathered = dict(results)

    assert gathered[0] == gathered[1]
    assert gathered[0]["tumor_dice"] == pytest.approx(2 / 3)
    assert gathered[0]["kidney_and_mass_dice"] == pytest.approx((1 + 1 + 2 / 3) / 3)
