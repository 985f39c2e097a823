import pytest
import torch
from safetensors import safe_open

from kidney_lab.errors import InputError
from kidney_lab.inference.stage_weights import WEIGHTS, read_weights, write_weights


def state() -> dict[str, torch.Tensor]:
    matrix = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    return {
        "a.weight": matrix,
        "b.weight": matrix,  # tied
        "turned": matrix.T,
        "part": matrix[1:3],
        "fitted": torch.tensor(True),
        "half": matrix.bfloat16(),
        "steps": torch.tensor(7),
    }


def test_weights_read_back_to_the_bit_whatever_memory_they_share(tmp_path):
    path = tmp_path / "stage" / WEIGHTS
    write_weights(path, state(), {"stage": "coarse"})
    again = read_weights(path)
    assert again.keys() == state().keys()
    for name, tensor in state().items():
        assert again[name].dtype == tensor.dtype
        assert torch.equal(again[name], tensor)
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == {"format": "pt", "stage": "coarse"}
    assert [file.name for file in path.parent.iterdir()] == [WEIGHTS]


def test_others_may_read_the_file_as_any_other(tmp_path):
    write_weights(tmp_path / WEIGHTS, state(), {})
    (tmp_path / "other").write_text("")
    assert (tmp_path / WEIGHTS).stat().st_mode == (tmp_path / "other").stat().st_mode


def test_files_that_hold_no_weights_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_weights(tmp_path / WEIGHTS)
    write_weights(tmp_path / WEIGHTS, state(), {})
    (tmp_path / "cut").write_bytes((tmp_path / WEIGHTS).read_bytes()[:100])
    torch.save({"state_dict": state()}, tmp_path / "pickled")
    for name in ("cut", "pickled"):
        with pytest.raises(InputError, match=f"{name} holds no readable weights"):
            read_weights(tmp_path / name)
