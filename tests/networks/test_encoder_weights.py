import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from kidney_lab.errors import InputError
from kidney_lab.networks.encoder_weights import encoder_file, input_statistics, load_encoder
from kidney_lab.networks.encoders import build_encoder
from kidney_lab.networks.segnet import SegNet

INCEPTION = "inception_v3_google-1a9a5a14.pth"


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    """Folder in which published files are looked for."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def numbered(state):
    """Weights of the same shapes, each of one number all over, which takes no room in a file."""
    return {name: torch.tensor(float(k)).expand(value.shape) for k, (name, value) in enumerate(state.items())}


def of(build):
    with torch.device("meta"):
        module = build()
    return numbered(module.state_dict())


def held(module):
    return {name: float(value.flatten()[0]) for name, value in module.state_dict().items()}


@pytest.mark.parametrize(
    ("encoder", "file", "build"),
    [
        ("resnet18", "resnet18-f37072fd.pth", models.resnet18),
        ("mobilenet_v2", "mobilenet_v2-b0353104.pth", models.mobilenet_v2),
        ("alexnet", "alexnet-owt-7be5be79.pth", models.alexnet),
    ],
)
def test_imagenet_is_torchvision_s_file_of_the_encoder(checkpoints, encoder, file, build):
    weights = of(build)
    torch.save(weights, checkpoints / file)
    module, _ = build_encoder(encoder, in_channels=3)

    load_encoder(module, encoder, "imagenet")

    assert held(module) == {name: float(weights[name].flatten()[0]) for name in module.state_dict()}


def test_imagenet_is_for_an_encoder_of_timm_the_file_that_timm_names(checkpoints):
    module, _ = build_encoder("tu-inception_v3", in_channels=3)
    weights = numbered({name.removeprefix("model."): value for name, value in module.state_dict().items()})
    classifier = {"fc.weight": torch.zeros(()).expand(1000, 2048), "AuxLogits.fc.bias": torch.zeros(()).expand(1000)}
    torch.save(weights | classifier, checkpoints / INCEPTION)

    load_encoder(module, "tu-inception_v3", "imagenet")

    assert held(module) == {f"model.{name}": float(value.flatten()[0]) for name, value in weights.items()}


def test_names_that_timm_joins_in_its_lists_of_features_are_found(tmp_path):
    import timm

    module, _ = build_encoder("tu-test_convnext", in_channels=3)  # stages_0 here, stages.0 in its files
    weights = of(lambda: timm.create_model("test_convnext"))
    save_file({name: value.clone() for name, value in weights.items()}, tmp_path / "model.safetensors")

    load_encoder(module, "tu-test_convnext", str(tmp_path / "model.safetensors"))

    assert set(held(module).values()) <= {float(value.flatten()[0]) for value in weights.values()}
    assert held(module)["model.stages_0.blocks.0.mlp.fc1.bias"] == weights["stages.0.blocks.0.mlp.fc1.bias"][0]


def test_a_checkpoint_of_a_stage_gives_its_encoder(tmp_path):
    network = SegNet(channels=[4, 8], convolutions=[1, 1])
    weights = numbered(network.state_dict())
    torch.save({"state_dict": {f"network.{name}": value for name, value in weights.items()}}, tmp_path / "best.ckpt")

    load_encoder(network.encoder, "vgg16_bn", str(tmp_path / "best.ckpt"))

    wanted = {name.removeprefix("encoder."): value for name, value in weights.items() if name.startswith("encoder.")}
    assert held(network.encoder) == {name: float(value.flatten()[0]) for name, value in wanted.items()}


def test_none_needs_no_file_and_loads_nothing(checkpoints):
    module, _ = build_encoder("alexnet", in_channels=3)
    before = {name: value.clone() for name, value in module.state_dict().items()}

    load_encoder(module, "alexnet", "none")

    assert encoder_file("alexnet", "none") is None
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize(
    ("encoder", "file", "url"),
    [
        ("resnet50", "resnet50-0676ba61.pth", "https://download.pytorch.org/models/resnet50-0676ba61.pth"),
        ("vgg16", "vgg16-397923af.pth", "https://download.pytorch.org/models/vgg16-397923af.pth"),
        ("tu-inception_v3", INCEPTION, f"https://download.pytorch.org/models/{INCEPTION}"),
    ],
)
def test_a_missing_file_is_named_with_where_it_comes_from_and_goes(checkpoints, encoder, file, url):
    with pytest.raises(InputError) as caught:
        encoder_file(encoder, "imagenet")

    assert str(caught.value) == (
        f"model.weights=imagenet with the encoder {encoder} needs {file} ({url}) in {checkpoints}: put the file there, "
        "since nothing is fetched, or set model.weights=none."
    )


@pytest.mark.parametrize("encoder", ["xception", "densenet121", "tu-test_convnext", "resnext101_32x4d"])
def test_where_nobody_names_a_file_a_path_is_asked_for(checkpoints, encoder):
    with pytest.raises(InputError, match=rf"names no file for the encoder {encoder}: bring one and give its path"):
        encoder_file(encoder, "imagenet")


def test_files_of_another_encoder_name_the_layer(tmp_path):
    module, _ = build_encoder("resnet18", in_channels=3)
    path = tmp_path / "weights.pth"
    whole = of(models.resnet18)

    def message(content):
        torch.save(content, path)
        with pytest.raises(InputError) as caught:
            load_encoder(module, "resnet18", str(path))
        return str(caught.value).removeprefix(f"{path} does not fit the encoder resnet18: ")

    wrong = whole | {"layer2.0.conv1.weight": torch.zeros(128, 64, 1, 1)}
    assert message(wrong) == (
        "its layer layer2.0.conv1.weight of shape [128, 64, 3, 3] is of shape [128, 64, 1, 1] there; name a file of "
        "that encoder, for slices of as many channels."
    )
    lacking = {name: value for name, value in whole.items() if name != "layer4.1.bn2.running_var"}
    assert message(lacking).startswith("its layer layer4.1.bn2.running_var of shape [512] is missing; name a file")
    assert message(of(models.resnet34)) == "it has the layer layer1.2.bn1.bias beside; name a file of that encoder."
    for odd in ([1, 2], {"state_dict": "x"}, whole | {"conv1.weight": "x"}):
        assert message(odd).startswith("its layer conv1.weight of shape [64, 3, 7, 7] is missing")


def test_older_files_lack_counters_and_fit(tmp_path):
    module, _ = build_encoder("resnet18", in_channels=3)
    older = {name: value for name, value in of(models.resnet18).items() if not name.endswith("num_batches_tracked")}
    torch.save(older, tmp_path / "old.pth")

    load_encoder(module, "resnet18", str(tmp_path / "old.pth"))

    assert held(module)["bn1.weight"] == older["bn1.weight"][0]


def test_slices_of_other_channels_do_not_fit_pretrained_weights(tmp_path):
    module, _ = build_encoder("resnet18", in_channels=1)
    torch.save(of(models.resnet18), tmp_path / "weights.pth")

    with pytest.raises(
        InputError, match=r"its layer conv1\.weight of shape \[64, 1, 7, 7\] is of shape \[64, 3, 7, 7\]"
    ):
        load_encoder(module, "resnet18", str(tmp_path / "weights.pth"))


def test_the_input_that_weights_were_trained_with():
    assert input_statistics("resnet50") == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert input_statistics("tu-inception_v3") == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
