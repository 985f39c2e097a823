from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from kidney_lab.errors import InputError
from kidney_lab.networks.weight_files import (
    Missing,
    MissingWeightsError,
    WeightFile,
    hub_file,
    imagenet_url,
    own_file,
    read_state,
    refuse_missing,
)

URL = "https://download.pytorch.org/models/resnet50-0676ba61.pth"


def test_published_files_are_where_torch_s_hub_keeps_them(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    assert imagenet_url("resnet50") == URL
    assert hub_file(URL) == WeightFile(tmp_path / "checkpoints" / "resnet50-0676ba61.pth", URL)


def test_what_is_missing_is_told_with_whence_and_whither(tmp_path):
    there, missing = (
        WeightFile(tmp_path / "a.pth", "https://x/a.pth"),
        WeightFile(tmp_path / "b.pth", "https://x/b.pth"),
    )
    there.path.touch()

    refuse_missing([there], "imagenet", of="model.backbone=resnet18", choices=["none", "imagenet"])
    with pytest.raises(InputError) as caught:
        refuse_missing([there, missing], "imagenet", of="the encoder vgg16", choices=["none", "imagenet"])
    assert str(caught.value) == (
        f"model.weights=imagenet with the encoder vgg16 needs b.pth (https://x/b.pth) in {tmp_path}: put the file "
        "there, since nothing is fetched, or set model.weights=none."
    )
    with pytest.raises(InputError, match=r"model\.weights=x is no file: name one, or choose none or imagenet\.$"):
        refuse_missing([own_file("x")], "x", of="", choices=["none", "imagenet"])


def test_what_several_networks_miss_is_one_sentence():
    published = {name: WeightFile(Path("hub") / f"{name}.pth", f"https://x/{name}.pth") for name in ("a", "b")}
    choices = ["none", "imagenet"]
    a, b = (Missing("imagenet", f"the encoder {name}", [file], choices) for name, file in published.items())
    own = Missing("c.pth", "the encoder c", [own_file("c.pth")], choices)

    assert str(MissingWeightsError([a, b])) == (
        "model.weights=imagenet with the encoder a and the encoder b needs a.pth (https://x/a.pth) and b.pth "
        "(https://x/b.pth) in hub: put the files there, since nothing is fetched, or set model.weights=none."
    )
    assert str(MissingWeightsError([a, b, own])) == (
        "model.weights with the encoder a, the encoder b and the encoder c needs a.pth (https://x/a.pth) and b.pth "
        "(https://x/b.pth) in hub and c.pth: put the files there, since nothing is fetched, name others, or set "
        "model.weights=none."
    )


def test_weights_are_read_from_every_kind_of_file(tmp_path):
    weights = {"a.weight": torch.tensor([1.0, 2.0])}
    checkpoint = {"state_dict": {"network.a.weight": weights["a.weight"], "loss.weight": torch.ones(1)}, "epoch": 3}
    torch.save(weights, tmp_path / "plain.pth")
    torch.save(checkpoint, tmp_path / "stage.ckpt")
    save_file(weights, tmp_path / "timm.safetensors")
    torch.save([1, 2], tmp_path / "else.pth")

    for name in ("plain.pth", "stage.ckpt", "timm.safetensors"):
        state = read_state(tmp_path / name)
        assert {key: value.tolist() for key, value in state.items()} == {"a.weight": [1.0, 2.0]}
    assert read_state(tmp_path / "else.pth") == {}


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": "x"},
        {"state_dict": {"network.conv1.weight": "x"}},
        {"conv1.weight": "x", 3: torch.ones(1), "epoch": 4},
        "x",
    ],
)
def test_what_is_no_weight_in_a_file_is_left_out(tmp_path, content):
    torch.save(content, tmp_path / "odd.pth")

    assert read_state(tmp_path / "odd.pth") == {}


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_what_is_no_file_of_weights_is_refused(tmp_path, name):
    for content in (b"", b"no weights", b"hello world", b"hello world\n", b"(lp0\n.", b"\x80\x02."):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=r"cannot be read as weights: bring a whole file that torch.save wrote"):
            read_state(tmp_path / name)
