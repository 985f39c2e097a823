from types import SimpleNamespace

import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from kidney_lab.errors import InputError
from kidney_lab.tasks.ranks import check_processes, machine_first, processes_here
from kidney_lab.tasks.run_folder import is_first_process


def trainer(**values):
    return OmegaConf.create({"accelerator": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto", **values})


@pytest.fixture
def torchrun(monkeypatch):
    """Makes this process one of those that torchrun has started, with Hydra's configuration of a single run."""

    def start(*, rank=0, local_rank=0, world_size=2, local_world_size=1, mode=RunMode.RUN, overrides=()):
        place = {"RANK": rank, "LOCAL_RANK": local_rank, "WORLD_SIZE": world_size, "LOCAL_WORLD_SIZE": local_world_size}
        for name, value in {"TORCHELASTIC_RUN_ID": "a run", **place}.items():
            monkeypatch.setenv(name, str(value))
        hydra = SimpleNamespace(mode=mode, overrides=SimpleNamespace(hydra=list(overrides)))
        monkeypatch.setattr(HydraConfig, "get", staticmethod(lambda: hydra))

    return start


@pytest.mark.parametrize(
    ("values", "gpus", "expected"),
    [
        ({"devices": 3}, 0, 3),
        ({"devices": "auto"}, 4, 1),  # cores are no devices of their own
        ({"accelerator": "auto", "devices": "auto"}, 0, 1),
        ({"accelerator": "auto", "devices": "auto"}, 4, 4),
        ({"accelerator": "gpu", "devices": -1}, 2, 2),
        ({"accelerator": "gpu", "devices": [1, 3]}, 4, 2),
    ],
)
def test_there_is_a_process_for_each_device(monkeypatch, values, gpus, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)

    assert processes_here(trainer(**values)) == expected


def test_the_first_of_all_machines_is_the_first_process(torchrun, monkeypatch):
    assert is_first_process()
    monkeypatch.setenv("RANK", "1")  # of some other program
    assert is_first_process()
    torchrun(rank=1, local_rank=0)
    assert not is_first_process()
    torchrun(rank=0)
    assert is_first_process()


def test_several_machines_need_torchrun(monkeypatch):
    check_processes(trainer(devices=2))
    with pytest.raises(InputError, match="torchrun --nnodes=3 --nproc-per-node=2"):
        check_processes(trainer(devices=2, num_nodes=3))
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    with pytest.raises(InputError, match="srun has started 4 processes that know nothing of each other"):
        check_processes(trainer(devices=4))


def test_torchrun_must_start_what_the_trainer_means(torchrun):
    torchrun(world_size=4, local_world_size=2, overrides=["hydra.run.dir='run'"])
    check_processes(trainer(devices=2, num_nodes=2))
    for wrong in ({"devices": 2}, {"devices": 1, "num_nodes": 4}, {"devices": 4}):
        with pytest.raises(InputError, match="torchrun has started 4 with 2 on this one"):
            check_processes(trainer(**wrong))


def test_the_processes_of_torchrun_must_agree_on_a_run_folder_and_share_one_training(torchrun):
    torchrun()
    with pytest.raises(InputError, match=r"give hydra\.run\.dir="):
        check_processes(trainer(num_nodes=2))
    torchrun(mode=RunMode.MULTIRUN, overrides=["hydra.run.dir='run'"])
    with pytest.raises(InputError, match="-m does not work under torchrun"):
        check_processes(trainer(num_nodes=2))


def test_a_process_that_is_alone_waits_for_nobody():
    done = []
    with machine_first():
        done.append("once")

    assert done == ["once"]
