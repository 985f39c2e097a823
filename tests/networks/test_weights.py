import pytest
import torch
from torchvision import models
from torchvision.models import detection

from kidney_lab.errors import InputError
from kidney_lab.networks.mask_rcnn import MaskRCNN
from kidney_lab.networks.weights import load_weights, weight_files

IMAGENET, COCO = "resnet18-f37072fd.pth", "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth"
OLD_NAMES = {"roi_heads.mask_head.0.0.": "roi_heads.mask_head.mask_fcn1.", "rpn.head.conv.0.0.": "rpn.head.conv."}
BODY, CLASSES = "backbone.body.", ("roi_heads.box_predictor.", "roi_heads.mask_predictor.mask_fcn_logits.")


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    """Folder in which torchvision's files are looked for."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def network(**arguments):
    return MaskRCNN(**{"backbone": "resnet18", "norm": "frozen_batch", **arguments})


def write(path, build, *, first=0.0, old_names=False):
    """Writes a file of weights, each of one number all over, so that it is small; returns the numbers by name."""
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in build().state_dict().items()}
    numbers = {name: first + 0.25 * place for place, name in enumerate(shapes)}

    def name_in_file(name):
        for new, old in OLD_NAMES.items() if old_names else ():
            name = name.replace(new, old)
        return name

    torch.save({name_in_file(name): torch.tensor(numbers[name]).expand(shapes[name]) for name in shapes}, path)
    return numbers


def coco_model():
    return detection.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)


def compact(model):
    """A state dictionary of zeros that takes no room in a file."""
    return {name: torch.zeros(()).expand(value.shape) for name, value in model.state_dict().items()}


def values(model):
    """The number that each weight is full of; None for one of random values."""
    return {
        name: float(value.flatten()[0]) if (value == value.flatten()[0]).all() else None
        for name, value in model.state_dict().items()
    }


def test_none_needs_no_file_and_loads_nothing(checkpoints):
    assert weight_files("none", "resnet101") == []
    assert load_weights(network(norm="group"), "none") == []


def test_imagenet_fills_the_body_and_leaves_the_rest(checkpoints):
    numbers = write(checkpoints / IMAGENET, models.resnet18)
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}

    left = load_weights(model, "imagenet")

    after = values(model)
    assert {name: after[name] for name in after if name.startswith(BODY)} == {
        BODY + name: value
        for name, value in numbers.items()
        if not name.startswith("fc.") and not name.endswith("num_batches_tracked")
    }
    assert left == sorted(name for name in before if not name.startswith(BODY))
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in left)


def test_coco_with_resnet50_fills_all_but_the_classes_from_names_old_or_new(checkpoints):
    for old_names in (False, True):
        numbers = write(checkpoints / COCO, coco_model, old_names=old_names)
        model = network(backbone="resnet50")

        left = load_weights(model, "coco")

        after = values(model)
        assert left == sorted(name for name in after if name.startswith(CLASSES))
        assert {name: after[name] for name in after if name not in left} == {
            name: numbers[name] for name in after if name not in left
        }


def test_coco_with_another_backbone_puts_the_detector_behind_its_own_body(checkpoints):
    body, detector = write(checkpoints / IMAGENET, models.resnet18, first=1000), write(checkpoints / COCO, coco_model)
    model = network()

    left = load_weights(model, "coco")

    after = values(model)
    anew = (*CLASSES, "backbone.fpn.inner_blocks.")
    assert left == sorted(name for name in after if name.startswith(anew))
    for name, value in after.items():
        if name not in left:
            assert value == (body[name.removeprefix(BODY)] if name.startswith(BODY) else detector[name])


def test_other_numbers_of_anchors_start_anew(checkpoints):
    write(checkpoints / COCO, coco_model)

    left = load_weights(network(backbone="resnet50", anchor_sizes=[[32, 64]] * 5), "coco")

    assert {name.split(".")[2] for name in left if name.startswith("rpn.")} == {"cls_logits", "bbox_pred"}


def test_a_missing_file_is_named_with_where_it_comes_from_and_goes(checkpoints):
    with pytest.raises(InputError) as error:
        weight_files("coco", "resnet101")
    assert str(error.value) == (
        "model.weights=coco with model.backbone=resnet101 needs resnet101-63fe2227.pth "
        f"(https://download.pytorch.org/models/resnet101-63fe2227.pth) and {COCO} "
        f"(https://download.pytorch.org/models/{COCO}) in {checkpoints}: put the files there, since nothing is "
        "fetched, or set model.weights=none."
    )
    (checkpoints / IMAGENET).touch()
    with pytest.raises(InputError, match=f"needs {COCO} .*: put the file there"):
        load_weights(network(), "coco")
    with pytest.raises(InputError, match=r"model.weights=cocoa is no file: name one, or choose none, imagenet or coco"):
        weight_files("cocoa", "resnet18")


def test_a_path_may_hold_a_classifier_a_detector_or_a_checkpoint_of_our_own(tmp_path):
    path = tmp_path / "my weights.pth"
    own = compact(network(norm="group"))
    checkpoint = {
        "state_dict": {f"network.{name}": value for name, value in own.items()} | {"loss.weight": torch.ones(1)}
    }
    classifier = {name.removeprefix(BODY): value for name, value in own.items() if name.startswith(BODY)}
    for content in (own, checkpoint, classifier):
        torch.save(content, path)
        model = network(norm="group")

        left = load_weights(model, str(path))

        assert left == ([] if content is not classifier else sorted(n for n in own if not n.startswith(BODY)))
        assert all(torch.equal(value, own[name]) for name, value in model.state_dict().items() if name not in left)


def test_files_of_another_network_are_refused_in_one_sentence(tmp_path):
    path = tmp_path / "weights.pth"

    frozen, group = network(), network(norm="group")

    def message(content, model=frozen):
        torch.save(content, path)
        with pytest.raises(InputError) as error:
            load_weights(model, str(path))
        return str(error.value).removeprefix(f"{path} ")

    own, grouped = compact(frozen), compact(group)
    neither = "holds neither a ResNet nor a Mask R-CNN by torchvision's names: name another file."
    assert message({"weight": torch.zeros(3)}) == neither
    for odd in ([1, 2], {"state_dict": "x"}, {"state_dict": {"network.weight": "x"}}, {"conv1.weight": "x"}):
        assert message(odd) == neither
    assert message(own, group) == "has statistics of a batch normalization: set model.norm=frozen_batch."
    assert message(grouped) == "has no statistics of a batch normalization: set model.norm=group."
    name = f"{BODY}layer1.0.conv1.weight"
    for wrong in (
        {key: value for key, value in own.items() if key != name},
        own | {name: torch.zeros(1)},
    ):
        assert message(wrong) == (
            "does not fit the network: 1 weight missing, too many or of another shape, "
            f"{name} first; choose the model.backbone and model.channels that the file is of."
        )
    assert "does not fit the network: " in message(own, network(backbone="resnet34"))


def test_what_is_no_file_of_weights_is_refused(tmp_path):
    for content in (b"", b"no weights", b"hello world"):
        (tmp_path / "weights.pth").write_bytes(content)
        with pytest.raises(InputError, match=r"cannot be read as weights: bring a whole file that torch.save wrote"):
            load_weights(network(), str(tmp_path / "weights.pth"))
