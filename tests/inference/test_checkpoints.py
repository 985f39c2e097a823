import os
import pickle
from contextlib import suppress

import pytest
import torch

from kidney_lab.errors import InputError
from kidney_lab.inference.checkpoints import read_checkpoint, weights_alone


@pytest.fixture
def path(tmp_path):
    return tmp_path / "best.ckpt"


@pytest.mark.parametrize("write", [torch.save, lambda state, path: path.write_bytes(pickle.dumps(state, 2))])
@pytest.mark.parametrize("wrap", [lambda it: it, lambda it: {"state_dict": {"network.x": it}}])
def test_code_in_a_checkpoint_does_not_run(path, tmp_path, touching, write, wrap):
    write(wrap(touching(tmp_path / "harm")), path)

    with pytest.raises(InputError, match=r"^.*best\.ckpt is no checkpoint of weights alone, so that"):
        read_checkpoint(path)
    assert not (tmp_path / "harm").exists()
    with suppress(Exception):
        torch.load(path, weights_only=False)
    assert (tmp_path / "harm").exists()


def test_weights_are_read_by_name(path):
    torch.save({"state_dict": {"a": torch.arange(3)}, "epoch": 3}, path)

    assert read_checkpoint(path).keys() == {"a"}
    assert read_checkpoint(path)["a"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("content", [b"", b"x" * 100, pickle.dumps([1], 2), pickle.dumps({"weights": {}}, 2)])
def test_what_is_no_checkpoint_is_told(path, content):
    path.write_bytes(content)

    with pytest.raises(InputError, match=r"^.*best\.ckpt is no checkpoint of weights alone"):
        read_checkpoint(path)


def test_files_that_a_network_reads_by_itself_give_weights_alone(tmp_path, touching, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    torch.save(touching(tmp_path / "harm"), tmp_path / "file.pth")

    with weights_alone(), pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "file.pth", weights_only=False)

    assert not (tmp_path / "harm").exists()
    assert os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] == "1"
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ
