import copy

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import ResNet101_Weights, detection
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.ops import FrozenBatchNorm2d

from kidney_lab.data.instances import batch_instances
from kidney_lab.errors import InputError
from kidney_lab.methods.cost import count_flops
from kidney_lab.networks.mask_activation import own_region, region_probabilities
from kidney_lab.networks.mask_rcnn import MaskRCNN

SMALL = {"backbone": "resnet18", "rpn_top_n": (30, 30), "box_batch_size_per_image": 16, "box_detections_per_img": 4}
COCO_SIZES = ((32,), (64,), (128,), (256,), (512,))


def network(**arguments):
    torch.manual_seed(0)
    return MaskRCNN(**{**SMALL, **arguments})


def torchvision_s(ours, *, norm_layer, mean, std, sizes):
    """The same detector put together by torchvision alone, with the same weights."""
    backbone = resnet_fpn_backbone(backbone_name="resnet18", weights=None, norm_layer=norm_layer, trainable_layers=5)
    theirs = detection.MaskRCNN(
        backbone,
        num_classes=3,
        min_size=64,
        max_size=64,
        image_mean=mean,
        image_std=std,
        rpn_anchor_generator=AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 5),
        rpn_pre_nms_top_n_train=30,
        rpn_pre_nms_top_n_test=30,
        rpn_post_nms_top_n_train=30,
        rpn_post_nms_top_n_test=30,
        box_score_thresh=ours.roi_heads.score_thresh,
        box_batch_size_per_image=16,
        box_detections_per_img=4,
        _skip_resize=True,  # in training it draws a size at random, if only from one
    )
    theirs.load_state_dict(ours.state_dict())
    return theirs


def group_norm(channels):
    return nn.GroupNorm(32, channels)


BOTH = [
    ({"norm": "group"}, {"norm_layer": group_norm, "mean": [0.0] * 3, "std": [1.0] * 3, "sizes": ((64,),) * 5}),
    (
        {"norm": "frozen_batch", "anchor_sizes": COCO_SIZES},
        {
            "norm_layer": FrozenBatchNorm2d,
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
            "sizes": COCO_SIZES,
        },
    ),
]


def squares(seed=0, n=2, size=64):
    """Noisy slices `(n, 1, size, size)` with a bright square in each, and a brighter one in that, and their labels."""
    rng = np.random.default_rng(seed)
    label = np.zeros((n, 1, size, size), np.uint8)
    for one in label[:, 0]:
        y, x = rng.integers(4, size - 36, 2)
        one[y : y + 30, x : x + 30] = 1
        one[y + 8 : y + 20, x + 8 : x + 20] = 2
    image = 0.2 + 0.3 * label + 0.05 * rng.standard_normal(label.shape)
    return torch.from_numpy(image.clip(0, 1)).float(), torch.from_numpy(label)


@pytest.mark.parametrize(("arguments", "reference"), BOTH)
def test_losses_equal_torchvision_s(arguments, reference):
    image, label = squares()
    targets = batch_instances(label)
    ours = network(**arguments, trainable_layers=5)
    theirs = torchvision_s(ours, **reference).train()

    torch.manual_seed(1)
    expected = theirs(list(image.expand(-1, 3, -1, -1)), targets)
    torch.manual_seed(1)
    found = ours.losses(image, targets)

    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, msg=name)


@pytest.mark.parametrize(("arguments", "reference"), BOTH)
def test_detections_and_mask_probabilities_equal_torchvision_s(arguments, reference):
    image, _ = squares()
    ours = network(**arguments, box_score_thresh=0.2).eval()  # random weights are sure of nothing
    theirs = torchvision_s(ours, **reference).eval()
    raw = []
    theirs.transform.postprocess = lambda result, *_: raw.extend(result) or result  # before masks are pasted

    with torch.no_grad():
        theirs(list(image.expand(-1, 3, -1, -1)))
        found = ours(image)

    assert sum(len(one["boxes"]) for one in raw) > 5
    for one, expected in zip(found, raw, strict=True):
        for name in ("boxes", "scores", "labels"):
            assert torch.equal(one[name], expected[name])
        probabilities = own_region(region_probabilities(one["mask_logits"], "sigmoid"), one["labels"])
        torch.testing.assert_close(probabilities, expected["masks"])


def test_losses_are_finite_and_a_few_steps_lower_them():
    image, label = squares()
    model, targets = network(mask_roi_size=7), batch_instances(label)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    history = []
    for _ in range(4):
        optimizer.zero_grad()
        losses = model.losses(image, targets)
        total = sum(losses.values())
        total.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        history.append({name: float(value.detach()) for name, value in losses.items()})

    assert all(np.isfinite(list(losses.values())).all() for losses in history)
    assert sum(history[-1].values()) < 0.8 * sum(history[0].values())
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_a_batch_of_empty_slices_has_finite_losses_and_reaches_every_parameter(activation):
    image, label = squares()
    model = network(mask_activation=activation)

    losses = model.losses(image, batch_instances(torch.zeros_like(label)))
    sum(losses.values()).backward()

    assert losses["loss_mask"] == losses["loss_box_reg"] == losses["loss_rpn_box_reg"] == 0
    assert losses["loss_classifier"] > 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_a_slice_without_detections_gives_empty_outputs():
    image, _ = squares()
    (first, second) = network(box_score_thresh=1.0).eval()(image)

    for found in (first, second):
        assert {name: tuple(value.shape) for name, value in found.items()} == {
            "boxes": (0, 4),
            "scores": (0,),
            "labels": (0,),
            "mask_logits": (0, 3, 28, 28),
        }


def test_sides_that_are_no_multiple_of_32_are_padded_and_boxes_stay_on_the_slice():
    image, _ = squares(size=96)
    model = network(box_score_thresh=0.2).eval()
    cut = image[:, :, :70, :90]

    with torch.no_grad():
        found = model(cut)
        features = model.pyramid(cut).levels["0"]
        padded = model.pyramid(nn.functional.pad(cut, (0, 6, 0, 26))).levels["0"]

    assert torch.equal(features, padded)
    boxes = torch.cat([one["boxes"] for one in found])
    assert len(boxes) > 0
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= 90
    assert boxes[:, 3].max() <= 70


def test_losses_and_detections_do_not_depend_on_the_mode_and_leave_it():
    image, label = squares()
    model, targets = network(box_score_thresh=0.2), batch_instances(label)

    values = []
    for training in (True, False):
        model.train(training)
        torch.manual_seed(1)
        losses, found = model.losses(image, targets), model(image)
        values.append([*losses.values(), *(one["boxes"] for one in found)])
        assert all(module.training is training for module in model.modules())

    assert all(torch.equal(a, b) for a, b in zip(*values, strict=True))


@pytest.mark.parametrize(("layer", "cells"), [("mask_head.3", 7), ("conv5_mask", 14)])
def test_mask_logits_have_gradients_to_the_activations_that_they_come_from(layer, cells):
    image, _ = squares()
    model = network(mask_roi_size=7).eval()
    boxes = [torch.tensor([[4.0, 5, 40, 50], [10, 10, 20, 20]]), torch.zeros(0, 4)]

    with torch.no_grad():
        pyramid = model.pyramid(image)
        activations = model.mask_activations(pyramid, boxes, layer)
        direct = model.mask_logits(model.mask_activations(pyramid, boxes))
    leaf = activations.requires_grad_()
    logits = model.mask_logits(leaf, layer)
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), leaf)

    assert activations.shape == gradient.shape == (2, 256, cells, cells)
    assert activations.min() == 0  # behind the ReLU
    torch.testing.assert_close(logits, direct)
    weights = model.roi_heads.mask_predictor.mask_fcn_logits.weight[1, :, 0, 0]
    if layer == "conv5_mask":  # the logits are linear in these: the gradient is the class's weight everywhere
        torch.testing.assert_close(gradient, weights[None, :, None, None].expand_as(gradient))
    else:
        nudged = activations.detach().clone().double()
        nudged[1, 3, 2, 4] += 1e-3
        double = copy.deepcopy(model).double()
        with torch.no_grad():
            difference = double.mask_logits(nudged)[:, 1].sum() - double.mask_logits(activations.double())[:, 1].sum()
        assert float(difference) / 1e-3 == pytest.approx(float(gradient[1, 3, 2, 4]), rel=1e-3)


def test_boxes_and_losses_are_float32_whatever_the_trainer_s_precision():
    image, label = squares()
    model, targets = network(box_score_thresh=0.2), batch_instances(label)

    with torch.autocast("cpu", torch.bfloat16):
        losses, found = model.losses(image, targets), model(image)
        features = model.backbone(image.expand(-1, 3, -1, -1))

    assert features["0"].dtype == torch.bfloat16  # convolutions do run in it
    assert all(value.dtype == torch.float32 and value.isfinite() for value in losses.values())
    assert all(one[name].dtype == torch.float32 for one in found for name in ("boxes", "scores", "mask_logits"))


def test_a_level_has_anchors_of_64_pixels_in_three_shapes_or_those_given():
    literal = network().rpn.anchor_generator.cell_anchors
    assert [anchors.tolist() for anchors in literal] == [
        [[-45, -23, 45, 23], [-32, -32, 32, 32], [-23, -45, 23, 45]]
    ] * 5
    coco = network(anchor_sizes=COCO_SIZES).rpn.anchor_generator.cell_anchors
    assert [anchors[1].tolist() for anchors in coco] == [[-n, -n, n, n] for n in (16, 32, 64, 128, 256)]


def test_parameters_are_those_of_torchvision_s_mask_r_cnn_but_for_the_classes():
    with torch.device("meta"):
        model = MaskRCNN(backbone="resnet50", norm="frozen_batch", trainable_layers=5)
        paper = MaskRCNN(norm="frozen_batch")
    published = detection.MaskRCNN_ResNet50_FPN_Weights.COCO_V1.meta["num_params"]

    fewer = (91 - 3) * ((1024 + 1) * (1 + 4) + 256 + 1)
    assert sum(p.numel() for p in model.parameters()) == published - fewer
    assert sum(p.numel() for p in paper.parameters()) == pytest.approx(62.9e6, abs=0.05e6)


def test_flops_of_the_paper_s_network_are_those_of_its_layers_with_every_box_taken():
    with torch.device("meta"):
        model = MaskRCNN(norm="frozen_batch")

    multiply_adds = count_flops(model, (1, 1, 512, 512)) / 2

    box = 256 * 7 * 7 * 1024 + 1024 * 1024 + 1024 * (3 + 12)
    mask = 14 * 14 * (4 * 256 * 256 * 9 + 4 * 256 * 256) + 28 * 28 * 256 * 3
    proposals = sum((512 // s) ** 2 for s in (4, 8, 16, 32, 64)) * 256 * (9 * 256 + 3 * (1 + 4))
    pyramid = sum((512 // s) ** 2 * 256 * (c + 9 * 256) for s, c in ((4, 256), (8, 512), (16, 1024), (32, 2048)))
    body = 1e9 * ResNet101_Weights.IMAGENET1K_V1.meta["_ops"] * (512 / 224) ** 2
    assert multiply_adds == pytest.approx(body + pyramid + proposals + 1000 * box + 20 * mask, rel=0.005)


def test_fewer_channels_narrow_pyramid_and_heads_by_the_layers_own_sizes():
    model = network(channels=64)

    box = 64 * 7 * 7 * 256 + 256 + 256 * 256 + 256 + 256 * (3 + 12) + 3 + 12
    mask = 4 * (64 * 64 * 9 + 64) + (64 * 64 * 4 + 64) + (64 * 3 + 3)
    proposals = (64 * 64 * 9 + 64) + (64 + 1) * 3 * (1 + 4)
    pyramid = sum(c * 64 + 64 for c in (64, 128, 256, 512)) + 4 * (64 * 64 * 9 + 64)
    counts = [sum(p.numel() for p in part.parameters()) for part in (model.roi_heads, model.rpn, model.backbone.fpn)]
    assert counts == [box + mask, proposals, pyramid]


def test_fewer_channels_learn_and_find_as_many_maps_of_the_same_size():
    model, label = network(channels=64, box_score_thresh=0.0), torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    label[..., 10:40, 20:50] = 1

    losses = model.losses(torch.rand(1, 1, 64, 64), batch_instances(label))
    sum(losses.values()).backward()
    (found,) = model.eval()(torch.rand(1, 1, 64, 64))

    learning = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in learning)
    assert found["mask_logits"].shape == (4, 3, 28, 28)


def test_what_it_cannot_be_built_of_is_refused():
    for arguments, message in (
        ({"in_channels": 5}, "1 or 3 channels, not 5"),
        ({"anchor_sizes": [[64]] * 4}, r"model\.anchor_sizes=.* give 5 lists of equally many numbers over 0"),
        ({"mask_roi_size": "abc"}, r"model\.mask_roi_size=abc is out of range: give a whole number of at least 1"),
    ):
        with pytest.raises(InputError, match=message):
            MaskRCNN(**arguments)
